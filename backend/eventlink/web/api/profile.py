"""Routes of profile."""

from fastapi import APIRouter

router = APIRouter()
