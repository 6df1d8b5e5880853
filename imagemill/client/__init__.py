"""The client of the mill's API, for programs that hand in batches and follow them.

    async with MillClient("unix:/run/mill.sock") as mill:
        batch = await mill.submit(urls, recipe={"variants": [...]})
        async for update in mill.watch(batch.name):
            print(update.batch.progress)

Answers are the API's own messages (`imagemill.v1`); a call that fails raises `MillError`.
"""

from imagemill.client.errors import MillError
from imagemill.client.mill_client import MillClient
from imagemill.client.recipes import RecipeFieldError

__all__ = ["MillClient", "MillError", "RecipeFieldError"]
