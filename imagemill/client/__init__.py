"""The client of the mill's API, for programs that hand in batches and follow them.

    async with MillClient("127.0.0.1:50051") as mill:
        batch = await mill.submit(urls, recipe={"variants": [...]})
        async for update in mill.watch(batch):
            print(update.batch.progress.succeeded)

Answers are the API's own messages (`imagemill.v1`); those a program names most are here as well. A call that fails
raises `MillError`; `MillUnreachable`, one of these, when no mill answers.
"""

from imagemill.client.errors import MillError, MillUnreachable
from imagemill.client.mill_client import MillClient
from imagemill.client.names import state_word
from imagemill.client.recipes import RecipeFieldError
from imagemill.v1.batch_pb2 import Batch, Item
from imagemill.v1.batch_service_pb2 import BatchReport, BatchUpdate, ItemSource
from imagemill.v1.recipe_pb2 import Recipe

__all__ = [
    "Batch",
    "BatchReport",
    "BatchUpdate",
    "Item",
    "ItemSource",
    "MillClient",
    "MillError",
    "MillUnreachable",
    "Recipe",
    "RecipeFieldError",
    "state_word",
]
