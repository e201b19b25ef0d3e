"""Asks the published renderer (transformers with jinja2) what chat templates of many styles give for conversations
with tools, documents, thoughts, images, and writes template_answers.json beside this file. Templates are
those below and those of templates/.

    pip install "transformers==5.24" jinja2; python3 tests/faults/ask_templates.py"""
import json
import pathlib

import jinja2
import transformers
from transformers.utils.chat_template_utils import render_jinja_template

TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Weather, now.\nOr later.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "description": "Where"}, "unit": {"type": "string", "enum": ["c", "f"], "default": "c"},
                                     "days": {"type": ["integer", "null"], "nullable": True}, "tags": {"type": "array", "items": {"type": "string"}},
                                     "where": {"oneOf": [{"type": "string"}, {"type": "number", "minimum": 0.5}]}},
    "required": ["city"]}, "return": {"type": "object"}}},
    {"type": "function", "function": {"name": "noop", "description": "", "parameters": {"type": "object", "properties": {}}}}]
CALL = {"id": "abc123xyz", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Zürich \"x\"", "days": 2, "tags": ["a", "b"], "f": 1.5, "n": None, "ok": True}}}
CHATS = {
    "plain": ([{"role": "user", "content": "Hi <b>"}, {"role": "assistant", "content": " Hello\n"}, {"role": "user", "content": "Grüße 😀"}], None, None),
    "system": ([{"role": "system", "content": "Be\nbrief."}, {"role": "user", "content": "a"}], None, None),
    "tools": ([{"role": "system", "content": "S"}, {"role": "user", "content": "weather?"}, {"role": "assistant", "content": "", "tool_calls": [CALL, dict(CALL, id="second999")]},
               {"role": "tool", "name": "get_weather", "tool_call_id": "abc123xyz", "content": "{\"t\": 3}"}, {"role": "tool", "name": "get_weather", "tool_call_id": "second999", "content": "4"},
               {"role": "assistant", "content": "Cold."}, {"role": "user", "content": "thanks"}], TOOLS, None),
    "thought": ([{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\n2", "reasoning_content": "hm"}, {"role": "user", "content": "2+2"},
                 {"role": "assistant", "content": "4", "reasoning_content": "easy"}], None, None),
    "parts": ([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what?"}, {"type": "text", "text": " and?"}]}, {"role": "assistant", "content": [{"type": "text", "text": "x"}]},
               {"role": "user", "content": "y"}], None, None),
    "documents": ([{"role": "user", "content": "q"}], None, [{"title": "T", "text": "body\nline"}, {"title": "U", "text": "v"}]),
}

TEMPLATES = {
    "namespace_last_user": """{%- set ns = namespace(last=-1, seen=0) %}{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- set ns.seen = ns.seen + 1 %}{%- endif %}{%- endfor %}
{%- for m in messages -%}
{{- '<|' ~ m.role ~ '|>' }}{% if loop.index0 == ns.last %}[LAST {{ ns.seen }}/{{ loop.length }}]{% endif %}{{ m.content if m.content is string else m.content|map(attribute='text')|select('defined')|join('|') }}{{ '\\n' if not loop.last }}
{%- endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}""",
    "typescript_tools": """{%- macro render_type(p, required, level=0) -%}
{%- if p.type == 'array' -%}{{ render_type(p['items'], true, level + 1) + '[]' if p.get('items') else 'any[]' }}
{%- elif p.type is defined and p.type is iterable and p.type is not string and p.type[0] is defined -%}{{ p.type | join(' | ') | replace('integer', 'number') }}
{%- elif p.oneOf -%}{%- for v in p.oneOf -%}{{ render_type(v, true) }}{%- if v.minimum is defined %} // >= {{ v.minimum }}{% endif -%}{%- if not loop.last %} | {% endif -%}{%- endfor -%}
{%- elif p.enum -%}{{ '"' + p.enum|join('" | "') + '"' }}
{%- elif p.type == 'integer' or p.type == 'number' -%}number
{%- else -%}{{ p.type|default('any', true) }}{%- endif -%}
{%- if p.nullable %} | null{% endif -%}
{%- endmacro -%}
{%- macro render_tools(tools) -%}
{{ 'namespace functions {\\n\\n' }}
{%- for t in tools -%}{%- set f = t.function -%}
{{ '// ' + f.description|trim|replace('\\n', '\\n// ') + '\\n' if f.description }}{{ 'type ' + f.name + ' = (' }}
{%- if f.parameters and f.parameters.properties -%}{{ '_: {\\n' }}
{%- for name, p in f.parameters.properties.items() -%}
{{ '// ' ~ p.description ~ '\\n' if p.description }}{{ name }}{{ '?' if name not in (f.parameters.required or []) }}{{ ': ' }}{{ render_type(p, name in f.parameters.required) }}
{%- if p.default is defined -%}{{ ', // default: ' ~ (p.default|tojson) }}{%- else -%}{{ ',' }}{%- endif -%}{{ '\\n' }}
{%- endfor -%}{{ '}) => any;\\n\\n' }}{%- else -%}{{ ') => any;\\n\\n' }}{%- endif -%}
{%- endfor -%}{{ '} // namespace functions' }}
{%- endmacro -%}
{%- if tools %}<|start|>developer<|message|># Tools{{ '\\n\\n' + render_tools(tools) }}<|end|>{% endif -%}
{%- for m in messages -%}{%- if m.role == 'tool' -%}{%- if not loop.previtem or loop.previtem.role != 'tool' %}<|results|>{% endif -%}functions.{{ m.name }} to=assistant<|message|>{{ m.content|tojson }}
{%- elif m.tool_calls -%}{%- for c in m.tool_calls -%}<|start|>assistant to=functions.{{ c.function.name }}<|channel|>commentary json<|message|>{{ c.function.arguments|tojson }}<|call|>{%- endfor -%}
{%- else -%}<|start|>{{ m.role }}<|message|>{{ m.content if m.content is string else (m.content|last).text }}<|end|>{%- endif -%}{%- endfor -%}""",
    "think_split": """{% for m in messages %}{% set content = m.content if m.content is string else '' %}{% set reasoning = '' %}{% if m.reasoning_content is defined and m.reasoning_content is string %}{% set reasoning = m.reasoning_content %}{% elif '</think>' in content %}{% set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}{% endif %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1].lstrip('\\n') %}{% endif %}[{{ m.role }}]{% if reasoning and (loop.last or (not loop.last and loop.nextitem.role == 'user')) %}<think>{{ reasoning.strip() }}</think>{% endif %}{{ content.strip('\\n') }}
{% endfor %}{% if add_generation_prompt %}[assistant]{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}{% endif %}""",
    "xml_calls": """{%- for m in messages %}{%- if m.tool_calls %}{%- for tc in m.tool_calls %}{%- set tool_call = tc.function if tc.function is defined else tc %}
<tool_call>
<function={{ tool_call.name }}>
{%- for k, v in tool_call.arguments|items %}
<parameter={{ k }}>
{%- set v = v | tojson | safe if v is mapping or (v is sequence and v is not string) else v | string %}
{{ v }}
</parameter>
{%- endfor %}
</function>
</tool_call>
{%- endfor %}{%- elif m.role == 'tool' %}
{%- if loop.first or loop.previtem.role != 'tool' %}<responses>{% endif %}
<r>{{ m.content|e }}</r>
{%- if loop.last or loop.nextitem.role != 'tool' %}</responses>{% endif %}{%- else %}
{{ m.role }}: {{ m.content }}{%- endif %}{%- endfor %}""",
    "mistral_ids": """{{ bos_token }}{%- for message in messages %}{%- if message["role"] == "user" %}{%- if tools is not none and (message == (messages | selectattr("role", "equalto", "user") | list)[-1]) %}{{- "[AVAILABLE_TOOLS] [" }}{%- for tool in tools %}{%- set tool = tool.function %}{{- '{"type": "function", "function": {' }}{%- for key, val in tool.items() if key != "return" %}{%- if val is string %}{{- '"' + key + '": "' + val + '"' }}{%- else %}{{- '"' + key + '": ' + val|tojson }}{%- endif %}{%- if not loop.last %}{{- ", " }}{%- endif %}{%- endfor %}{{- "}}" }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}{%- endfor %}{{- "[/AVAILABLE_TOOLS]" }}{%- endif %}{{- "[INST] " + (message["content"] if message.content is string else message.content|map(attribute='text', default='')|join) + "[/INST]" }}{%- elif message.tool_calls is defined and message.tool_calls is not none %}{{- "[TOOL_CALLS] [" }}{%- for tool_call in message.tool_calls %}{%- set out = tool_call.function|tojson %}{{- out[:-1] }}{%- if not tool_call.id is defined or tool_call.id|length != 9 %}{{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}{%- endif %}{{- ', "id": "' + tool_call.id + '"}' }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}{%- endfor %}{%- elif message["role"] == "assistant" %}{{- " " + (message["content"]|string|trim) + eos_token}}{%- elif message["role"] == "tool_results" or message["role"] == "tool" %}{%- if message.content is defined and message.content.content is defined %}{%- set content = message.content.content %}{%- else %}{%- set content = message.content %}{%- endif %}{{- '[TOOL_RESULTS] {"content": ' + content|string + ", " }}{{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}{%- elif message.role != 'system' %}{{- raise_exception("Only user and assistant roles are supported!") }}{%- endif %}{%- endfor %}""",
    "slices_and_alternation": """{%- if messages[0]["role"] == "system" %}{%- set sys = messages[0]["content"] %}{%- set rest = messages[1:] %}{%- else %}{%- set rest = messages %}{%- endif %}{%- for m in rest if m.role in ['user', 'assistant'] %}{%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate, got ' ~ m.role ~ ' at ' ~ loop.index0) }}{%- endif %}{{ '<start>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + (sys + '\\n\\n' if loop.first and sys is defined else '') }}{%- if m.content is string %}{{ m.content | trim }}{%- elif m.content is iterable %}{%- for item in m.content %}{%- if item.type == 'image' %}{{ '<img>' }}{%- elif item['type'] == 'text' %}{{ item.text|trim }}{%- endif %}{%- endfor %}{%- endif %}{{ '<end>\\n' }}{%- endfor %}""",
    "date_and_documents": """Today: {{ strftime_now('%d %B %Y') if strftime_now is defined else '?' }}
{% if documents %}{% for doc in documents %}Document: {{ loop.index0 }}
{% for key, value in doc.items() %}{{ key|title }}: {{ value|indent(4) }}
{% endfor %}{% endfor %}{% endif %}{% for m in messages %}{{ "%-10s|%5d|%.3f"|format(m.role, m.content|length, loop.index / 3) }}
{% endfor %}""",
    "call_blocks": """{%- macro box(title, style='-') -%}{{ style * 3 }} {{ title|upper|center(12, ) }} {{ style * 3 }}
{{ caller() if caller is defined else '' }}{{ varargs|list }}{{ kwargs|dictsort }}{%- endmacro -%}
{%- for m in messages %}{% call box(m.role, '=', 1, x=loop.index) %}{{ m.content|string|wordwrap(12)|indent(2, first=true) }}{% endcall %}
{% endfor -%}""",
    "filters_zoo": """{{ messages|groupby('role')|map('first')|list }} {{ messages|map(attribute='content')|select('string')|map('length')|sum }} {{ messages|selectattr('role', 'in', ['user', 'tool'])|list|count }}
{%- set ns = namespace(list=[]) %}{% for m in messages %}{% set ns.list = ns.list + [m.keys()|sort|join('+')] %}{% endfor %} {{ ns.list|unique|join(' ; ') }} {{ messages[0]|tojson(indent=2) }} {{ messages|length // 2 }} {{ messages|length % 2 == 1 }} {{ (messages|last).role|upper|replace('S', '$') }}""",
    "generation_tag": """{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content if m.content is string else m.content|tojson }}{{ eos_token }}{% endgeneration %}{% else %}<{{ m.role }}>{{ m['content']|string }}</{{ m.role }}>{% endif %}{% endfor %}""",
    "break_continue": """{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{% if loop.index > 4 %}{% break %}{% endif %}{{ loop.index }}/{{ loop.revindex }}:{{ m.role }}{{ loop.cycle(' odd', ' even') }}{% if loop.changed(m.role) %}!{% endif %};{% else %}empty{% endfor %}""",
    "recursive_schema": """{%- macro walk(s, depth=0) -%}{%- if s is mapping -%}{%- for k, v in s|dictsort(by='key') -%}{{ '\\n' + '  ' * depth + k + ':' }}{{ walk(v, depth + 1) }}{%- endfor -%}{%- elif s is sequence and s is not string -%}[{%- for v in s -%}{{ walk(v, depth + 1) }}{%- if not loop.last -%},{%- endif -%}{%- endfor -%}]{%- elif s is none -%}null{%- elif s is boolean -%}{{ 'yes' if s else 'no' }}{%- elif s is float -%}{{ '%.2f' % s }}{%- else -%}{{ s|string|replace('\\n', '\\\\n') }}{%- endif -%}{%- endmacro -%}
{%- for t in tools or [] %}{{ walk(t.function) }}{% endfor %}{% for m in messages %}{{ walk(m) }}{% endfor %}""",
    "set_blocks": """{%- set system_message %}{% if messages[0].role == 'system' %}{{ messages[0].content }}{% else %}default{% endif %}{% endset -%}
{%- set body | trim | replace('\\n', '⏎') %}
{% for m in messages %}{{ m.role[0] }}{{ m.content|string|truncate(9, true, '…') }}
{% endfor %}
{% endset -%}
<{{ system_message }}>{{ body }}{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a is defined }}""",
    "string_methods": """{% for m in messages %}{{ m.role.capitalize().ljust(10, '.') }}{{ (m.content|string).replace('a', 'A', 1).splitlines()|join('/') }}{{ (m.content|string).startswith(('H', 'w')) }}{{ (m.content|string)[::-1][:5] }}{{ m.get('name', 'none') }}{{ (m.content|string).find('e') }}{{ '%s:%r' % (m.role, m.content|string) }}{{ '{0:>6}{1!r:^9}'.format(m.role[:3], m.role) }}
{% endfor %}""",
    "raw_and_comments": """{# a comment {{ x }} #}{% raw %}{{ not rendered }}{% endraw %}{%+ for m in messages %}  {{- m.role -}}  {#- c -#}  {{ loop.depth }}{% endfor +%}
	{%- if true %}  tabs	{% endif -%}
   end{{ '{{' }}{{ "}}" }}{{ "\\u00e9\\x41\\t'\\"" }}""",
    "undefined_care": """{{ missing }}|{{ missing is defined }}|{{ messages[0].nothing }}|{{ messages[0].nothing|default('d') }}|{{ messages[0].get('nothing')|default('d', true) }}|{{ (missing or 'or') ~ 1 }}|{{ tools is none }}|{{ tools is defined }}|{{ not tools }}|{{ documents|default([])|length if documents is not none else 'none' }}|{{ 1 if missing }}|""",
    "error_undefined": """{{ messages[0].nothing.deeper }}""",
    "error_type": """{{ messages[0].role + 1 }}""",
    "arithmetic": """{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % -3 }} {{ 2 ** 3 ** 2 }} {{ 1 / 4 }} {{ 10 / 5 }} {{ 3 * 1.0 }} {{ 1e3 }} {{ 1_000 }} {{ 0.1 + 0.2 }} {{ 5 == 5.0 }} {{ true + 1 }} {{ 'a' * 3 }} {{ [1] * 2 }} {{ [1] + [2] }} {{ (1, 2) + (3,) }} {{ 1 < 2 < 3 }} {{ not 1 == 2 }} {{ 1 in [1] and 2 not in [1] }} {{ -1|abs }} {{ 3.7|int }} {{ '3'|int + 1 }} {{ 2.5|round|int }} {{ [1, 2, 3]|sum / 2 }} {{ 100|string|length }}""",
    "items_order": """{% for m in messages %}{% for k in m %}{{ k }}={{ m[k]|tojson }};{% endfor %}{% for k, v in m.items()|list if v is string %}{{ loop.index }}{{ k }} {% endfor %}
{% endfor %}{{ dict(a=1, b=[2]) }}{{ {'x': none, 'y': {'z': 1.0}} }}{{ [true, false, none] }}{{ ('t',) }}""",
    "jinja_tests": """{% for v in [none, true, 1, 1.5, 'x', [], {}, (1,), messages] %}{{ v is none }}{{ v is boolean }}{{ v is integer }}{{ v is float }}{{ v is number }}{{ v is string }}{{ v is sequence }}{{ v is mapping }}{{ v is iterable }}{{ v is callable }}{{ v is sameas v }}{{ v is true }},{% endfor %}{{ 4 is divisibleby 2 }}{{ 3 is odd }}{{ 'A' is upper }}{{ 3 is gt 2 }}{{ 'a' is in 'abc' }}{{ 3 is not lt 2 }}{{ 'upper' is filter }}{{ 'odd' is test }}""",
    "cycler_joiner": """{% set c = cycler('a', 'b', 'c') %}{% set j = joiner(' | ') %}{% for m in messages %}{{ j() }}{{ c.next() }}{{ c.current }}{{ m.role }}{% endfor %}{{ c.reset() or c.next() }}{{ range(3, 0, -1)|list }}""",
    "nested_loops": """{% for m in messages recursive %}{{ loop.index }}{% for c in m.tool_calls or [] %}{% set outer = loop %}{% for k, v in c.function.arguments.items() %}{{ outer.index }}.{{ loop.index }}{{ k }}={{ v|tojson }}{% if not loop.last %}, {% endif %}{% endfor %};{% endfor %}{% endfor %}{% for x in [1, [2, [3, 4]]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}""",
    "filter_blocks": """{% filter upper|replace(' ', '_') %}{% for m in messages %}{{ m.role }} {{ m.content|string }}
{% endfor %}{% endfilter %}{% set x = 'b' %}{% if x == 'a' %}1{% elif x == 'b' %}2{% else %}3{% endif %}{% set ns = namespace(**{'k': 1}) %}{% set ns.k = ns.k + 1 %}{{ ns.k }}{% set a, b = 1, 2 %}{{ a }}{{ b }}""",
}


TEMPLATES.update((path.stem, path.read_text()) for path in sorted((pathlib.Path(__file__).parent / "templates").glob("*.jinja")))


def main():
    answers = {"made_with": "transformers %s, jinja2 %s" % (transformers.__version__, jinja2.__version__), "chats": {}, "templates": TEMPLATES, "cases": []}
    for name, (messages, tools, documents) in CHATS.items():
        answers["chats"][name] = {"messages": json.dumps(messages, ensure_ascii=False), "tools": json.dumps(tools, ensure_ascii=False) if tools else None,
                                  "documents": json.dumps(documents, ensure_ascii=False) if documents else None}
    import transformers.utils.chat_template_utils as module

    class Day(module.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2025, 7, 3, 12, 0, 0)
    module.datetime = Day
    for template, source in TEMPLATES.items():
        for name, (messages, tools, documents) in CHATS.items():
            case = {"template": template, "chat": name}
            try:
                case["text"] = render_jinja_template([messages], tools=tools, documents=documents, chat_template=source, add_generation_prompt=name == "plain",
                                                     bos_token="<s>", eos_token="</s>")[0][0]
            except Exception as error:
                case["refused"] = "%s: %s" % (type(error).__name__, error)
            answers["cases"].append(case)
    out = pathlib.Path(__file__).with_name("template_answers.json")
    out.write_text(json.dumps(answers, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(out, len(answers["cases"]), sum("refused" in c for c in answers["cases"]))


main()
