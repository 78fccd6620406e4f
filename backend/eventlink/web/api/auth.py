"""Routes of auth."""

from fastapi import APIRouter

router = APIRouter()
