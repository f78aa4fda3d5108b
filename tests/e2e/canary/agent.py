"""An agent in all of whose texts there is a secret: question, arguments, result, and the messages of exceptions."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

import openai


def lookup(query: str) -> str:
    """Find it."""
    return f"found {query}"


def explode(query: str) -> str:
    """Fail, and quote what was asked."""
    raise RuntimeError(f"cannot find {query}")


TOOLS = {"lookup": lookup, "explode": explode}


def run_session(question: str) -> str:
    """Ask, call the tools, ask again, and give up as that is refused."""
    messages: list[Any] = [{"role": "user", "content": question}]
    completions = openai.OpenAI().chat.completions
    reply: Any = completions.create(model="gpt-5-mini", messages=messages).choices[0].message
    for call in reply.tool_calls:
        with contextlib.suppress(RuntimeError):
            TOOLS[call.function.name](**json.loads(call.function.arguments))
    try:
        completions.create(model="gpt-5-mini", messages=messages)
    except openai.BadRequestError as error:
        raise ValueError(f"no answer to {question}") from error
    return "an answer"


if __name__ == "__main__":
    with contextlib.suppress(ValueError):
        run_session(os.environ["QUESTION"])
