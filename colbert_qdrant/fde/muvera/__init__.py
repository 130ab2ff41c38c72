"""Encodes by MUVERA, a data-independent fixed dimensional encoding (arXiv 2405.19504).

`encoder` is what users see. It cuts a batch into tiles and gives them to `host` (on a CPU), `device` (torch's) or
`fastembed` (FastEmbed's numbers). `cells` assigns tokens to cells, `draws` draws what is random, `products` does the
arithmetic.
"""

from colbert_qdrant.fde.muvera.encoder import MuveraEncoder

__all__ = ["MuveraEncoder"]
