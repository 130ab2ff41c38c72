"""Determines which replicas of a collection are missing, and on which nodes to create them."""

from __future__ import annotations

from qdrant_client import models


def missing_copies(
    own: models.CollectionClusterInfo, like: models.CollectionClusterInfo, copies: int
) -> list[models.ReplicateShard]:
    """Return the replications that give each shard the required number of copies.

    Args:
        own: The shards of the collection.
        like: The shards of another collection, whose active nodes may hold the copies.
        copies: The required number of copies per shard.
    """
    active = models.ReplicaState.ACTIVE
    nodes = {like.peer_id for shard in like.local_shards if shard.state == active}
    nodes |= {shard.peer_id for shard in like.remote_shards if shard.state == active}
    places: dict[int, dict[int, models.ReplicaState]] = {}
    for local in own.local_shards:
        places.setdefault(local.shard_id, {})[own.peer_id] = local.state
    for remote in own.remote_shards:
        places.setdefault(remote.shard_id, {})[remote.peer_id] = remote.state
    for transfer in own.shard_transfers:
        places.setdefault(transfer.shard_id, {}).setdefault(transfer.to, models.ReplicaState.PARTIAL)
    return [
        models.ReplicateShard(shard_id=shard, from_peer_id=source, to_peer_id=node)
        for shard, there in sorted(places.items())
        for source in [node for node, state in there.items() if state == active][:1]
        for node in [node for node in sorted(nodes) if node not in there][: max(0, copies - len(there))]
    ]
