"""Encodes by MUVERA, a data-independent fixed dimensional encoding (arXiv 2405.19504).

`encoder` is the public part. It cuts a batch into tiles and passes each to `host` (CPU), `device` (torch) or
`fastembed` (FastEmbed's variant). `cells` assigns tokens to cells, `draws` draws the random parameters, and
`products` does the arithmetic.
"""

from colbert_qdrant.fde.muvera.encoder import MuveraEncoder

__all__ = ["MuveraEncoder"]
