"""Migrates existing collections to late interaction."""

from colbert_qdrant.migrate.aio import AsyncMigration
from colbert_qdrant.migrate.plan import Costs, MigrationPlan, Risk
from colbert_qdrant.migrate.run import MigrationReport
from colbert_qdrant.migrate.sync import Migration
from colbert_qdrant.migrate.verdict import Check, Verdict

__all__ = ["AsyncMigration", "Check", "Costs", "Migration", "MigrationPlan", "MigrationReport", "Risk", "Verdict"]
