"""Existing collections become collections for late interaction."""

from colbert_qdrant.migrate.migration import Migration
from colbert_qdrant.migrate.plan import Costs, MigrationPlan, Risk
from colbert_qdrant.migrate.running import MigrationReport
from colbert_qdrant.migrate.verdict import Check, Verdict

__all__ = ["Check", "Costs", "Migration", "MigrationPlan", "MigrationReport", "Risk", "Verdict"]
