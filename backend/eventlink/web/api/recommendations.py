"""Routes of recommendations."""

from fastapi import APIRouter

router = APIRouter()
