"""Routes of admin."""

from fastapi import APIRouter

router = APIRouter()
