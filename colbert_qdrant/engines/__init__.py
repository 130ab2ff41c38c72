"""Sends requests to each engine through one Protocol, with retries and deadlines, and makes clients."""

from colbert_qdrant.engines.base import Answers, AsyncClient, Client, Engine
from colbert_qdrant.engines.client import ClientEngine
from colbert_qdrant.engines.registry import async_engine, blocking_engine, register_engine

__all__ = [
    "Answers",
    "AsyncClient",
    "Client",
    "ClientEngine",
    "Engine",
    "async_engine",
    "blocking_engine",
    "register_engine",
]
