"""Sluicegate: an OpenAI-compatible gateway in front of vLLM, TGI and llama.cpp."""

__version__ = "0.1.0"
