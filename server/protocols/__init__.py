"""The protocols that editors speak, by name. Each file is one; none knows another.

The console is one more, for people: its page, and what the page asks for.

On a path that two share, the first whose `claims` says yes gets the call, and the last one gets
what nobody claimed, broken JSON included. The last one also speaks on paths that nobody has.
"""

PROTOCOLS = {
    "native": "server.protocols.native:Native",
    "console": "server.console.console:Console",
    "ofrep": "server.protocols.ofrep:Ofrep",
    "continue": "server.protocols.continue_sink:ContinueSink",
    "tabby": "server.protocols.tabby:Tabby",
    "llamacpp": "server.protocols.infill:LlamaCpp",
    "mistral": "server.protocols.mistral:Mistral",
    "ollama": "server.protocols.ollama:Ollama",
    "tgi": "server.protocols.tgi:Tgi",
    "openai": "server.protocols.openai:OpenAI",
}
