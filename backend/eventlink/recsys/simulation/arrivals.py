"""How a simulated city's people get to events otherwise than by lists: habit, friends, marks, talk.

What does not live here: what they do on the page they open (``behaviour``).
"""

import numpy as np

from eventlink.recsys.dataset import Bools
from eventlink.recsys.simulation.lists import Visits
from eventlink.recsys.simulation.relation import Index, Relation
from eventlink.recsys.simulation.standing import Pairs, is_eligible
from eventlink.recsys.simulation.utility import Today

CHANNEL_SHARES = (0.3, 0.15, 0.25, 0.3)
"""Organizers one follows or has been with, friends who are going, what one marked, the talk of the
town."""
TALK = 30
"""Events one hears of in town."""


def choose(
    today: Today, arrivals: Visits, guided: Bools, rng: np.random.Generator
) -> tuple[Index, Pairs]:
    """Draw the event that each arrival opens.

    An arrival considers a few events and opens one of them with chance proportional to the
    exponent of its utility: a multinomial logit over a consideration set (McFadden 1974; Manski
    1977), drawn by adding Gumbel noise and taking the largest.

    Args:
        today: The city that morning.
        arrivals: Who comes when.
        guided: Whether each arrival goes by utility; else it opens any of what it considers.
        rng: The source of chance.

    Returns:
        Places of the arrivals that found something, and what they found.
    """
    who, event = _considered(today, arrivals, rng)
    pairs = Pairs(arrivals.user[who], event, arrivals.at[who])
    kept = is_eligible(today.setting, today.now, pairs)
    who, pairs = who[kept], pairs.rows(kept)
    decides = np.where(guided[who], today.utility(pairs), 0.0) + rng.gumbel(size=len(pairs))
    order = np.lexsort((decides, who))
    last = np.ones(len(order), np.bool_)
    last[:-1] = who[order][1:] != who[order][:-1]
    chosen = order[last]
    return who[chosen], pairs.rows(chosen)


def _considered(today: Today, arrivals: Visits, rng: np.random.Generator) -> tuple[Index, Index]:
    """Return (arrival, event) pairs. Whoever considers nothing else listens to the town."""
    channel = rng.choice(4, len(arrivals), p=CHANNEL_SHARES)
    loyal = np.flatnonzero(channel == 0)
    by_habit = _habit(today, arrivals.user[loyal])
    social = np.flatnonzero(channel == 1)
    by_friend = today.now.friends.expand(arrivals.user[social])
    mindful = np.flatnonzero(channel == 2)
    by_mark = _marked(today, arrivals.rows(mindful))
    who = np.concatenate([loyal[by_habit[0]], social[by_friend[0]], mindful[by_mark[0]]])
    event = np.concatenate([by_habit[1], by_friend[1], by_mark[1]])
    listening = np.flatnonzero(~np.isin(np.arange(len(arrivals)), who))
    talk = (1 + today.now.momentum[today.live]) ** 0.2
    heard = rng.choice(today.live, (len(listening), TALK), p=talk / talk.sum())
    return (
        np.concatenate([who, np.repeat(listening, TALK)]),
        np.concatenate([event, heard.ravel()]),
    )


def _habit(today: Today, users: Index) -> tuple[Index, Index]:
    """Return the live events of the organizers each user follows or has been with."""
    been, followed = today.now.loyalty.expand(users), today.now.follows.expand(users)
    programme, live = today.setting.programme, today.live
    known = Relation.of(
        np.concatenate([been[0], followed[0]]),
        np.concatenate([been[1], followed[1]]),
        len(today.setting.people),
    )
    holds = Relation.of(programme.organizer[live], live, len(programme))
    who, organizer = known.expand(np.arange(len(users)))
    pair, event = holds.expand(organizer)
    return who[pair], event


def _marked(today: Today, arrivals: Visits) -> tuple[Index, Index]:
    """Return the events each arrival marked and may still register for."""
    who, event = today.now.marked.expand(arrivals.user)
    pairs = Pairs(arrivals.user[who], event, arrivals.at[who])
    open_ = is_eligible(today.setting, today.now, pairs)
    return who[open_], event[open_]
