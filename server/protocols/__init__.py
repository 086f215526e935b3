"""The protocols that editors speak, by name. Each file is one; none knows another.

On a path that two share, the first whose `claims` says yes gets the call, and the last one gets
what nobody claimed, broken JSON included.
"""

PROTOCOLS = {
    "tabby": "server.protocols.tabby:Tabby",
    "openai": "server.protocols.openai:OpenAI",
}
