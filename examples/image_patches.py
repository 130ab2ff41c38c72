"""Index the image patches of pages with a model shaped like ColPali: `python examples/image_patches.py [FOLDER]`.

The model is tiny, and its weights are random, so that nothing is downloaded: it shows the calls, and its rankings mean
nothing. For real pages, load `vidore/colpali-v1.3` and its processor with transformers instead, or any other model that
returns one matrix of token embeddings per image.
"""

import sys

import torch
from transformers import ColPaliConfig, ColPaliForRetrieval, PaliGemmaConfig

from colbert_qdrant import ColbertCollection, CollectionConfig, EdgeClient, MuveraConfig, ReadyTokens, TokenEmbeddings

NAME = "random/tiny-colpali"
IMAGE, PATCH, IMAGE_TOKEN = 56, 14, 63
PATCHES = (IMAGE // PATCH) ** 2


def random_colpali() -> ColPaliForRetrieval:
    """Return a model with the layers of ColPali, each of them tiny."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    pali_gemma = PaliGemmaConfig(
        vision_config={"model_type": "siglip_vision_model", "image_size": IMAGE, "patch_size": PATCH, **sizes},
        text_config={"model_type": "gemma", "vocab_size": 64, "num_key_value_heads": 1, "head_dim": 16, **sizes},
        projection_dim=32,
        image_token_index=IMAGE_TOKEN,
    )
    return ColPaliForRetrieval(ColPaliConfig(vlm_config=pali_gemma, embedding_dim=128))


@torch.inference_mode()
def embed(model: ColPaliForRetrieval, ids: torch.Tensor, pixels: torch.Tensor | None = None) -> TokenEmbeddings:
    """Return one matrix per page or query; a processor of transformers makes the ids and pixels of real ones."""
    mask = torch.ones_like(ids)
    embeddings = model(input_ids=ids, attention_mask=mask, pixel_values=pixels).embeddings
    return TokenEmbeddings.from_matrices(matrix[kept.bool()] for matrix, kept in zip(embeddings, mask, strict=True))


folder = sys.argv[1] if len(sys.argv) > 1 else "pages-store"
model = random_colpali()
model.train(mode=False)
print(f"{NAME}: the weights are random, so the rankings mean nothing")

scans = torch.rand(6, 3, IMAGE, IMAGE, generator=torch.Generator().manual_seed(1))  # six scanned pages
pages = embed(model, torch.full((6, PATCHES), IMAGE_TOKEN), scans)
question = embed(model, torch.tensor([[5, 17, 29, 41]]))  # the ids of a question's words

with EdgeClient(folder) as client:
    docs = ColbertCollection.open_or_create(
        "pages",
        client=client,
        encoder=ReadyTokens(dim=pages.dim, model=NAME),
        config=CollectionConfig(fde=MuveraConfig.preset("small")),
    )
    report = docs.ingest_tokens(
        [f"report.pdf/{page}" for page in range(1, 7)], pages, [{"page": page} for page in range(1, 7)]
    )
    print(f"{report.documents} pages of {PATCHES} patches, {report.tokens} token vectors")
    for hit in docs.search(question, limit=3):
        print(f"question: {hit.score:.2f}  {hit.id}")
    for hit in docs.search(pages[3:4], limit=1, where={"page": {"gte": 2}}):  # a page is a query, too
        print(f"page 4 is most like itself: {hit.score:.2f}  {hit.id}")
