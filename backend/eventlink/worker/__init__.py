"""Floor 4: the process that runs jobs. No decisions about what a job means, and no SQL."""
