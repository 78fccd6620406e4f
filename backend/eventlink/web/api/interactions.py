"""Routes of interactions."""

from fastapi import APIRouter

router = APIRouter()
