"""Run by Alembic: on the connection that ``migrate`` opened, for the tables of the guard and of the bot."""

from __future__ import annotations

import importlib

import sqlalchemy as sa
from alembic import context

from bottega.core import BottegaError
from bottega.serve import tables

targets: list[sa.MetaData] = [tables.metadata]
try:
    targets.append(importlib.import_module("bottega.crafts.chat_tables").METADATA)
except ModuleNotFoundError as error:
    if error.name != "bottega.crafts.chat_tables":
        raise

connection = context.config.attributes.get("connection")
if connection is None:
    raise BottegaError(
        "a state is brought up to date by bottega itself (bottega.serve.state.migrate), not by alembic's command"
    )
context.configure(connection=connection, target_metadata=targets, render_as_batch=True, transactional_ddl=True)
context.run_migrations()
