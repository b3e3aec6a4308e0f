"""A transaction, by a name for rooms that say what happens together in one and leave the SQL to this room."""

from typing import TypeAlias

from sqlalchemy import Connection

Transaction: TypeAlias = Connection
"""What a job is given; passed on to this room's functions, it is used for nothing else."""
