"""Routes of registrations."""

from fastapi import APIRouter

router = APIRouter()
