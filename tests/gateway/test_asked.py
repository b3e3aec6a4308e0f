"""What a request brings to a model, as text."""

import msgspec
import pytest

from octoroute_py.gateway.asked import asked


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"messages":[{"role":"system","content":"Be."},{"role":"user","content":"Hi"}]}', "system: Be.\nuser: Hi"),
        ('{"messages":[{"role":"user","content":[{"text":"a"},{"type":"image_url","image_url":"u"}]}]}', "user: a"),
        ('{"messages":[{"role":"tool","tool_calls":[{"function":{"name":"f","arguments":"1"}}]}]}', "tool: f1"),
        ('{"instructions":"Be brief.","input":"Hello"}', "Be brief.\nHello"),
        ('{"input":[{"role":"user","content":[{"type":"input_text","text":"b"}]},"c"]}', "user: b\nc"),
        ('{"prompt":["one","two"]}', "one\ntwo"),
        ('{"prompt":[1,2,3],"user":"anna"}', ""),
        ('{"messages":7}', ""),
        ("{}", ""),
    ],
)  # fmt: skip
def test_every_shape_of_request_is_read(body: str, text: str) -> None:
    assert asked(msgspec.json.decode(body, type=dict[str, msgspec.Raw])) == text
