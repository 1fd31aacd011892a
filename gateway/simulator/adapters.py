"""The LoRA adapters of a simulated vLLM: listed beside the model, loaded and unloaded on request.

Source: vLLM 0.32, entrypoints/openai/models/serving.py.
"""

import anyio

from gateway.simulator.job import Body
from gateway.simulator.options import EngineOptions
from gateway.simulator.refused import Refused

LOAD, UNLOAD = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
_NOWHERE = "missing"


class Adapters:
    """`by_name`: where each is. Those of the options are there from the start."""

    def __init__(self, options: EngineOptions) -> None:
        self.by_name: dict[str, str] = {name: f"/adapters/{name}" for name in options.adapters}
        self._options = options

    def listed(self, created: float) -> list[Body]:
        """As `/v1/models` lists them."""
        return [
            {
                "id": name,
                "object": "model",
                "created": created,
                "owned_by": "vllm",
                "root": path,
                "parent": self._options.models[0],
                "max_model_len": None,
            }
            for name, path in self.by_name.items()
        ]

    async def load(self, body: Body) -> str:
        """Raises Refused. A path that ends in `missing` is nowhere."""
        name, path = body.get("lora_name"), body.get("lora_path")
        if not name or not path:
            raise Refused(400, "Both 'lora_name' and 'lora_path' must be provided.")
        if name in self.by_name:
            raise Refused(
                400,
                f"The lora adapter '{name}' has already been loaded. If you want to load the "
                "adapter in place, set 'load_inplace' to True.",
                kind="InvalidUserInput",
            )
        await anyio.sleep(self._options.adapter_load_s)
        if path.endswith(_NOWHERE):
            raise Refused(404, f"Loading lora {name} failed: No adapter found for {path}")
        self.by_name[name] = path
        return f"Success: LoRA adapter '{name}' added successfully."

    def unload(self, body: Body) -> str:
        """Raises Refused."""
        name = body.get("lora_name")
        if name not in self.by_name:
            raise Refused(404, f"The lora adapter '{name}' cannot be found.")
        del self.by_name[name]
        return f"Success: LoRA adapter '{name}' removed successfully."
