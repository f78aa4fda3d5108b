"""Attributes, events and label values."""

from __future__ import annotations

from typing import Final

SCOPE: Final = "otel_tools"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.37.0"

# --- operations -----------------------------------------------------------------------------------------------------
CHAT: Final = "chat"
EMBEDDINGS: Final = "embeddings"
GENERATE_CONTENT: Final = "generate_content"
TEXT_COMPLETION: Final = "text_completion"
EXECUTE_TOOL: Final = "execute_tool"
INVOKE_AGENT: Final = "invoke_agent"

# --- attributes of the conventions ----------------------------------------------------------------------------------
OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
REQUEST_STREAM: Final = "gen_ai.request.stream"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105  tokens of text
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
TOOL_DESCRIPTION: Final = "gen_ai.tool.description"
TOOL_CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_CALL_RESULT: Final = "gen_ai.tool.call.result"
AGENT_NAME: Final = "gen_ai.agent.name"
AGENT_DESCRIPTION: Final = "gen_ai.agent.description"
USER_ID: Final = "user.id"

REQUEST_FIELDS: Final[dict[str, str]] = {
    "choice_count": "gen_ai.request.choice.count",
    "encoding_formats": "gen_ai.request.encoding_formats",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "max_tokens": "gen_ai.request.max_tokens",
    "output_type": "gen_ai.output.type",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "previous_response_id": "gen_ai.request.previous_response.id",
    "prompt_name": "gen_ai.prompt.name",
    "prompt_version": "gen_ai.prompt.version",
    "reasoning_level": "gen_ai.request.reasoning.level",
    "seed": "gen_ai.request.seed",
    "stop_sequences": "gen_ai.request.stop_sequences",
    "temperature": "gen_ai.request.temperature",
    "top_k": "gen_ai.request.top_k",
    "top_p": "gen_ai.request.top_p",
    "conversation_id": CONVERSATION_ID,
    "dimension_count": "gen_ai.embeddings.dimension.count",
    "openai_api_type": "openai.api.type",
    "openai_service_tier": "openai.request.service_tier",
    "anthropic_service_tier": "anthropic.request.service_tier",
    "azure_namespace": "azure.resource_provider.namespace",
}
"""What an adapter may read from a request of an LLM client -> attribute."""

RESPONSE_FIELDS: Final[dict[str, str]] = {
    "dimension_count": "gen_ai.embeddings.dimension.count",
    "openai_service_tier": "openai.response.service_tier",
    "openai_system_fingerprint": "openai.response.system_fingerprint",
    "anthropic_service_tier": "anthropic.response.service_tier",
    "conversation_id": CONVERSATION_ID,
}
"""What an adapter may read from a response of an LLM client -> attribute."""

TOOL_FIELDS: Final[dict[str, str]] = {
    "mcp_method": "mcp.method.name",
    "mcp_protocol_version": "mcp.protocol.version",
    "mcp_session_id": "mcp.session.id",
    "mcp_request_id": "jsonrpc.request.id",
    "rpc_status_code": "rpc.response.status_code",
    "network_transport": "network.transport",
    "network_protocol": "network.protocol.name",
    "server_address": SERVER_ADDRESS,
    "server_port": SERVER_PORT,
}
"""What an adapter may read beyond the common fields of a tool call -> attribute."""

USAGE_FIELDS: Final[dict[str, str]] = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cache_read_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_tokens": "gen_ai.usage.cache_write.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
    "text_input_tokens": "gen_ai.usage.text.input_tokens",
    "image_input_tokens": "gen_ai.usage.image.input_tokens",
    "audio_input_tokens": "gen_ai.usage.audio.input_tokens",
    "text_output_tokens": "gen_ai.usage.text.output_tokens",
    "image_output_tokens": "gen_ai.usage.image.output_tokens",
    "audio_output_tokens": "gen_ai.usage.audio.output_tokens",
    "audio_cache_read_tokens": "gen_ai.usage.audio.cache_read.input_tokens",
    "text_cache_read_tokens": "gen_ai.usage.text.cache_read.input_tokens",
    "image_cache_read_tokens": "gen_ai.usage.image.cache_read.input_tokens",
}
"""Fields of `model.Usage` that are attributes -> attribute. The details are subsets of the two totals."""

# --- attributes of otel-tools ---------------------------------------------------------------------------------------
OUTCOME: Final = "otel_tools.outcome"
DEGRADED: Final = "otel_tools.degraded"
RESULT_SIZE: Final = "otel_tools.tool.result.size"
ARGUMENT_KEYS: Final = "otel_tools.tool.argument_keys"
CRITICALITY: Final = "otel_tools.tool.criticality"
TIMEOUT_LIMIT: Final = "otel_tools.timeout.duration"
TIMEOUT_ITEM_LIMIT: Final = "otel_tools.timeout.item_duration"
TIMEOUT_EXCEEDED: Final = "otel_tools.timeout.exceeded"
CIRCUIT_NAME: Final = "otel_tools.circuit_breaker.name"
CIRCUIT_STATE: Final = "otel_tools.circuit_breaker.state"
CIRCUIT_PROBE: Final = "otel_tools.circuit_breaker.probe"
CIRCUIT_WOULD_REFUSE: Final = "otel_tools.circuit_breaker.would_refuse"
CIRCUIT_FROM: Final = "otel_tools.circuit_breaker.from"
CIRCUIT_TO: Final = "otel_tools.circuit_breaker.to"
CIRCUIT_REASON: Final = "otel_tools.circuit_breaker.reason"
CIRCUIT_SHADOW: Final = "otel_tools.circuit_breaker.shadow"
RETRY_AFTER: Final = "otel_tools.retry_after"
REFUSAL_DETAIL: Final = "otel_tools.refusal.detail"
USAGE_QUALITY: Final = "otel_tools.usage.quality"
COST: Final = "otel_tools.cost.usd"
COST_SOURCE: Final = "otel_tools.cost.source"
DURATION_MS: Final = "otel_tools.duration_ms"
SUCCESS: Final = "otel_tools.success"
SESSION_OUTCOME: Final = "otel_tools.session.outcome"
SESSION_COST: Final = "otel_tools.session.cost.usd"
SESSION_INPUT_TOKENS: Final = "otel_tools.session.input_tokens"
SESSION_OUTPUT_TOKENS: Final = "otel_tools.session.output_tokens"
SESSION_LLM_CALLS: Final = "otel_tools.session.inference_calls"
SESSION_TOOL_CALLS: Final = "otel_tools.session.tool_calls"
SESSION_TOOL_ERRORS: Final = "otel_tools.session.tool_errors"
SESSION_UNPRICED: Final = "otel_tools.session.unpriced_tokens"
LOOP_REPEATS: Final = "otel_tools.loop.repeats"
CONTROL_ACTION: Final = "otel_tools.control.action"
CONTROL_ACTOR: Final = "otel_tools.control.actor"
CONTROL_EXPIRES: Final = "otel_tools.control.expires_after"
CONTROL_LAYER: Final = "otel_tools.control.layer"
CONTROL_REASON: Final = "otel_tools.control.reason"
CONTROL_REFUSED: Final = "otel_tools.control.refused"
CONTROL_TARGET: Final = "otel_tools.control.target"
LIBRARY: Final = "otel_tools.library"
LIBRARY_VERSION: Final = "otel_tools.library.version"
STATUS: Final = "otel_tools.status"

# --- events (log records) -------------------------------------------------------------------------------------------
EVENT_TOOL_CALL: Final = "otel_tools.tool_call"
EVENT_LLM_CALL: Final = "otel_tools.llm_call"
EVENT_SESSION: Final = "otel_tools.session"
EVENT_TRANSITION: Final = "otel_tools.circuit_breaker.transition"
EVENT_LATE_RESULT: Final = "otel_tools.late_result"
EVENT_LOOP: Final = "otel_tools.loop_detected"
EVENT_UNPRICED: Final = "otel_tools.session.unpriced"
EVENT_CONTROL: Final = "otel_tools.control"
EVENT_CONTENT: Final = "gen_ai.client.inference.operation.details"

# --- label values ---------------------------------------------------------------------------------------------------
OTHER: Final = "_other"
"""Stands for every tool or agent name beyond the 256 that a process may put on metrics: a model can invent names."""

CIRCUIT_STATES: Final = ("closed", "open", "half_open", "forced_open", "disabled", "metrics_only")
SESSION_OUTCOMES: Final = ("completed", "max_iterations", "budget_exceeded", "error", "cancelled")
