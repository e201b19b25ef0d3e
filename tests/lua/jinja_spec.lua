-- The template interpreter: what published templates lean on, as the published implementation answers.
local jinja = require "perilune.chat.jinja"
local t = require "spec"

local function json(text) return jinja.json(text, "test") end

local variables = {
  messages = json [==[[{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Grüße 日本"}, {"role": "assistant", "content": "ok", "tool_calls": null}]]==],
  tools = json [==[[{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"zed": {"type": "number", "default": 1.0}, "a": {"enum": ["x", null]}}, "required": []}}}]]==],
  s = " Hello ", n = json "null", x = "X",
}

local cases = {}

cases.statements = {
  { "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ m.role[0] }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "1/3s, 2/3u, 3/3a" },
  { "{% for m in messages if m.role != 'system' %}{{ loop.index0 }}{{ loop.revindex }}{{ m.role }};{% else %}none{% endfor %}",
    "02user;11assistant;" },
  { "{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}={{ v }} {% endfor %}",
    "b=1 a=2 " },
  { "{% for x in [] %}{{ x }}{% else %}empty{% endfor %}",
    "empty" },
  { "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i > 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "0134" },
  { "{% set a, b = 1, 2 %}{{ a + b }}{% set c %}[{{ a }}]{% endset %}{{ c }}{% set d | upper %}abc{% endset %}{{ d }}",
    "3[1]ABC" },
  { "{% set n2 = 0 %}{% for i in [1, 2] %}{% set n2 = n2 + i %}{% endfor %}{{ n2 }}",
    "0" },
  { "{% set ns = namespace(n=0, seen=[]) %}{% for i in [1, 2] %}{% set ns.n = ns.n + i %}{% set ns.seen = ns.seen + [i] %}{% endfor %}{{ ns.n }}{{ ns.seen }}",
    "3[1, 2]" },
  { "{% macro tag(name, body='-', end=true) %}<{{ name }}>{{ body }}{% if end %}</{{ name }}>{% endif %}{% endmacro %}{{ tag('a') }}{{ tag('b', end=false) }}{{ tag(body='y', name='c') }}",
    "<a>-</a><b>-<c>y</c>" },
  { "{% macro wrap() %}({{ caller(1) }}){% endmacro %}{% call(v) wrap() %}v={{ v }}{% endcall %}",
    "(v=1)" },
  { "{% macro m() %}{{ x }}{% endmacro %}{% set x = 'later' %}{{ m() }}",
    "later" },
  { "{% filter upper %}abc {{ x }}é{% endfilter %}",
    "ABC XÉ" },
  { "{% with a = 1, b = a %}{{ a }}{{ b is defined }}{% endwith %}{{ a is defined }}",
    "1FalseFalse" },
  { "{% generation %}a{{ x }}{% endgeneration %}",
    "aX" },
  { "{% raw %}{{ not }} {% this %}{% endraw %}!",
    "{{ not }} {% this %}!" },
  { "a{# {{ hidden }} #}b",
    "ab" },
  { "{% for item in [[1, [2, 3]], [4, []]] recursive %}{{ item if item is number else loop(item) }}{{ loop.depth }},{% endfor %}",
    "12,23,33,2,1,42,2,1," },
  { "{% if n %}1{% elif s %}2{% else %}3{% endif %}{{ 'yes' if x == 'X' }}{{ 'yes' if x == 'Y' }}",
    "2yes" },
  { "{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined }}>{{ loop.nextitem.role if not loop.last }} {{ loop.cycle('o', 'e') }}{{ loop.changed(m.role) }} {% endfor %}",
    ">user oTrue system>assistant eTrue user> oTrue " },
}

cases.whitespace = {
  { "a\n{% if true %}\nb\n{% endif %}\nc\n",
    "a\nb\nc" },
  { "a\n  {% if true %}\n  b\n  {% endif %}\n c",
    "a\n  b\n c" },
  { "a {%- if true -%} b {%- endif -%} c",
    "abc" },
  { "a\n  {%+ if true +%}\n b{% endif %}",
    "a\n  \n b" },
  { "x\n  {{ x }}\n  y\n",
    "x\n  X\n  y" },
  { "x \n {{- x -}} \n y",
    "xXy" },
  { "a\n  {# note #}\n b",
    "a\n b" },
  { "a\n  {#- note -#}\n b",
    "ab" },
  { "{%- raw -%}  {{ a }}  {%- endraw -%}  b",
    "{{ a }}b" },
  { "  {% raw %}\n r\n  {% endraw %}\n b",
    "\n r\n b" },
  { "\n{% for i in [1,2] %}\n  {{ i }}\n{% endfor %}\n\n",
    "\n  1\n  2\n" },
  { "a\r\n{% if true %}\r\nb\r\n{% endif %}\r\n",
    "a\nb\n" },
  { "  {% set a = 1 %}  \n {% set b = 2 %}\n{{ a }}{{ b }}\n\n",
    "  \n12\n" },
  { "t\t{%- if 1 %}\194\160{% endif %}",
    "t\194\160" },
}

cases.python = {
  { "{{ 7 / 2 }} {{ 4 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7.5 // 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 1e3 }} {{ 1_000 }} {{ 0x1f }}",
    "3.5 2.0 3 -4 2 3.0 1024 0.5 1000.0 1000 31" },
  { "{{ 1.0 }} {{ 1e16 }} {{ 1e-5 }} {{ 0.1 + 0.2 }} {{ 123456789.125 }} {{ -0.0 }} {{ 2.5 | round }} {{ 0.125 | round(2) }} {{ 3 | round(1) }}",
    "1.0 1e+16 1e-05 0.30000000000000004 123456789.125 -0.0 2.0 0.12 3" },
  { "{{ true }} {{ none }} {{ [1, 'a', none, true, 1.5, (1,), {'k': \"it's\"}] }} {{ 'a\\n\"' }}{{ ['a\\n\\'\"'] }}",
    "True None [1, 'a', None, True, 1.5, (1,), {'k': \"it's\"}] a\n\"['a\\n\\'\"']" },
  { "{{ 'abc'[1] }}{{ 'abc'[-1] }}{{ 'abcdef'[1:4] }}{{ 'abcdef'[::-1] }}{{ 'abcdef'[::2] }}{{ [1, 2, 3][-2:] }}{{ (1, 2)[0] }}",
    "bcbcdfedcbaace[2, 3]1" },
  { "{{ messages[1].content | length }}{{ messages[1].content[:3] }}{{ messages[1].content[-1] }}{{ messages[1].content | upper }}{{ 'ß'.upper() }}",
    "8Grü本GRÜSSE 日本SS" },
  { "{{ 'a' * 3 }}{{ [0] * 2 }}{{ 'a' ~ 1 ~ none ~ 2.0 }}{{ 'a' + 'b' }}{{ [1] + [2] }}",
    "aaa[0, 0]a1None2.0ab[1, 2]" },
  { "{{ 1 < 2 < 3 }}{{ 1 < 2 > 3 }}{{ 'a' in 'cat' }}{{ 1 not in [2] }}{{ 'k' in {'k': 1} }}{{ 1 == 1.0 }}{{ true == 1 }}{{ [1] == [1.0] }}",
    "TrueFalseTrueTrueTrueTrueTrueTrue" },
  { "{{ not true or true and false }}{{ '' or 'd' }}{{ 'a' and 0 }}{{ -2 ** 2 }}{{ 2 ** 3 ** 2 }}",
    "Falsed0464" },
  { "{{ '%s is %d%% %5.2f|%-4s|%04d' % ('a', 3, 2.5, 'b', 7) }}{{ '%(k)s' % {'k': 1} }}{{ '{} {1} {k:>4} {0:.2f}'.format(1.5, 2, k='z') if false else '{0} {1} {k:>4}'.format(1.5, 2, k='z') }}",
    "a is 3%  2.50|b   |000711.5 2    z" },
  { "{{ ' a b  c '.split() }}{{ 'a,b,c'.split(',', 1) }}{{ 'a,b,c'.rsplit(',', 1) }}{{ 'a-b'.partition('-') }}{{ 'x\\ny\\n'.splitlines() }}",
    "['a', 'b', 'c']['a', 'b,c']['a,b', 'c']('a', '-', 'b')['x', 'y']" },
  { "{{ 'xxaxx'.strip('x') }}{{ '  a '.lstrip() }}|{{ '</think>\\n\\na'.split('</think>')[-1].lstrip('\\n') }}{{ 'abc'.startswith(('x', 'a')) }}{{ 'abc'.endswith('bc') }}{{ 'banana'.replace('a', 'o', 2) }}{{ 'banana'.find('n') }}{{ 'banana'.rfind('n') }}{{ 'banana'.count('an') }}",
    "aa |aTrueTruebonona242" },
  { "{{ 'hello world-x'.title() }}{{ 'hELLO'.capitalize() }}{{ '42'.isdigit() }}{{ '42'.zfill(5) }}{{ 'ab'.join(['1', '2']) }}{{ 'unprefixed'.removeprefix('un') }}",
    "Hello World-XHelloTrue000421ab2prefixed" },
  { "{{ {'a': 1}.get('b', 'none') }}{{ {'a': 1}.items() | list }}{{ {'a': 1}.keys() | list }}{{ {'items': 5}.items is callable }}{{ {'items': 5}['items'] }}",
    "none[('a', 1)]['a']True5" },
  { "{{ [3, 1, 2].index(1) }}{{ [1, 1].count(1) }}{{ range(3) | list }}{{ range(5, 0, -2) | list }}{{ dict(a=1, **{'b': 2}) }}",
    "12[0, 1, 2][5, 3, 1]{'a': 1, 'b': 2}" },
}

cases.filters = {
  { "{{ s | trim }}{{ 'A' | lower }}{{ 'a b' | title }}{{ [1, 2] | length }}{{ [1, 2] | join('-') }}{{ [1, none] | join }}",
    "HelloaA B21-21None" },
  { "{{ messages | map(attribute='role') | join(',') }}{{ ['a', 'b'] | map('upper') | list }}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ messages | rejectattr('role', 'in', ['user', 'system']) | map(attribute='content') | first }}",
    "system,user,assistant['A', 'B']1ok" },
  { "{{ [1, 2, 3, 4] | select('odd') | list }}{{ [0, 1, ''] | select | list }}{{ [1, none] | reject('none') | list }}{{ messages | selectattr('tool_calls', 'defined') | list | length }}",
    "[1, 3][1][1]1" },
  { "{{ undef | default('d') }}{{ '' | default('d', true) }}{{ n | default('d') }}{{ undef | d }}|{{ n or 'd' }}",
    "ddNone|d" },
  { "{{ [3, 1, 2] | sort }}{{ ['b', 'A'] | sort }}{{ messages | sort(attribute='role') | map(attribute='role') | join(' ') }}{{ {'b': 1, 'a': 2} | dictsort }}{{ ['a', 'A', 'b'] | unique | list }}",
    "[1, 2, 3]['A', 'b']assistant system user[('a', 2), ('b', 1)]['a', 'b']" },
  { "{{ 'a\\nb\\n\\nc' | indent }}{{ 'a\\nb' | indent(2, true) }}{{ '<a>' | e }}{{ '3.7' | int }}{{ '3.7' | float }}{{ 'x' | int(9) }}{{ -3 | abs }}",
    "a\n    b\n\n    c  a\n  b&lt;a&gt;33.793" },
  { "{{ [1, 2, 3, 4, 5] | batch(2) | list }}{{ [1, 2, 3] | slice(2) | list }}{{ [1, 2] | sum }}{{ [1, 5, 2] | max }}{{ [4, 2] | min }}{{ 'a b c' | wordcount }}",
    "[[1, 2], [3, 4], [5]][[1, 2], [3]]3523" },
  { "{% for role, group in messages | groupby('role') %}{{ role }}:{{ group | length }} {% endfor %}{{ {'a': 1} | items | list }}{{ 'abc' | reverse }}{{ 'abc' | first }}{{ [1, 2] | last }}",
    "assistant:1 system:1 user:1 [('a', 1)]cbaa2" },
  { "{{ tools[0] | tojson }}",
    "{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"type\": \"object\", \"properties\": {\"zed\": {\"type\": \"number\", \"default\": 1.0}, \"a\": {\"enum\": [\"x\", null]}}, \"required\": []}}}" },
  { "{{ tools[0].function.parameters | tojson(indent=2) }}",
    "{\n  \"type\": \"object\",\n  \"properties\": {\n    \"zed\": {\n      \"type\": \"number\",\n      \"default\": 1.0\n    },\n    \"a\": {\n      \"enum\": [\n        \"x\",\n        null\n      ]\n    }\n  },\n  \"required\": []\n}" },
  { "{{ {'b': 'é<', 'a': [true, none, 1.5]} | tojson(ensure_ascii=true, sort_keys=true, separators=(',', ':')) }}",
    "{\"a\":[true,null,1.5],\"b\":\"\\u00e9<\"}" },
}

cases.tests = {
  { "{{ undef is defined }}{{ n is none }}{{ 'a' is string }}{{ 1 is number }}{{ 1 is integer }}{{ 1.0 is integer }}{{ 1.0 is float }}{{ true is boolean }}{{ true is number }}{{ {} is mapping }}{{ [] is iterable }}{{ 'a' is sequence }}{{ n is not none }}",
    "FalseTrueTrueTrueTrueFalseTrueTrueTrueTrueTrueTrueFalse" },
  { "{{ 3 is odd }}{{ 4 is divisibleby 2 }}{{ 4 is divisibleby(3) }}{{ 1 is eq 1 }}{{ 1 is ne(1) }}{{ 2 is gt 1 }}{{ 'a' is in ['a'] }}{{ false is false }}{{ 'a' is lower }}{{ n is sameas none }}{{ range is callable }}{{ messages[2].tool_calls is none }}{{ messages[0].tool_calls is defined }}",
    "TrueTrueFalseTrueFalseTrueTrueTrueTrueTrueTrueTrueFalse" },
}

for name, list in pairs(cases) do
  t.test("as the published implementation: " .. name, function()
    for _, case in ipairs(list) do t.equal(jinja.render(case[1], variables), case[2], case[1]) end
  end)
end

t.test("errors name line and column, and show the place", function()
  local wrong = {
    { "a\n  {{ x.y.z }}", "template line 2, column 10", "'str object' has no attribute 'y'", "\n    {{ x.y.z }}\n           ^" },
    { "日本 {{ missing.name }}", "line 1, column 15", "'missing' is undefined" },
    { "{{ 'a' + 1 }}", "line 1, column 8", 'can only concatenate str (not "int") to str' },
    { "{% if x %}", "{% if %} is not closed" },
    { "a\n{% endfor %}", "line 2, column 4", "unknown statement 'endfor'" },
    { "{% for i in 5 %}{% endfor %}", "'int' object is not iterable" },
    { "{{ x | shout }}", "column 8", "no filter named 'shout'" },
    { "{{ x is loud }}", "no test named 'loud'" },
    { "{{ x(1) }}", "'str' object is not callable" },
    { "{{ x.upper(1) }}", "upper takes at most 0 arguments" },
    { "{{ 1 // 0 }}", "modulo by zero" },
    { "{{ 'open }}", "a string is not closed" },
    { "{{ (1 }}", "unexpected '}'" },
    { "{{ [1}", "unexpected '}', expected ']'" },
    { "{% set x.y = 1 %}", "not a namespace" },
    { "{% break %}", "outside a loop" },
    { "{% include 'a' %}", "not part of a chat template" },
    { "{{ tools | first | tojson(indent=none) }}{{ range | tojson }}", "not JSON serializable" },
    { "{% macro m(a) %}{% endmacro %}{{ m(b=1) }}", "no keyword argument 'b'" },
    { "{% set a, b = [1] %}", "1 values for 2 names" },
    { "{{ messages | map(attribute='role') | last }}", "not reversible" },
  }
  for _, case in ipairs(wrong) do t.raises_text(function() jinja.render(case[1], variables) end, unpack(case, 2)) end
  local raised = t.raises_text(function() jinja.render("{{ raise_exception('roles ' ~ x) }}", variables) end, "refuses these messages: roles X")
  t.equal(raised.code, "argument")
  t.equal(t.raises_text(function() jinja.render("{{ 1 + }}", {}) end, "expected an expression, got '}}'").code, "format")
end)

t.test("nothing reaches outside, nothing is changed", function()
  for _, case in ipairs {   -- undefined, as in the published sandbox
    { "{{ ''.__class__ }}|", "|" }, { "{{ x['__class__'] }}|", "|" }, { "{{ x | attr('__len__') }}|", "|" }, { "{{ range.__globals__ }}|", "|" },
    { "{{ [x] | map(attribute='__class__') | list }}", "[Undefined]" },
  } do
    t.equal(jinja.render(case[1], variables), case[2])
  end
  for _, source in ipairs { "{{ messages.__class__.__mro__ }}", "{{ ''.__class__() }}", "{{ '{0.__class__}'.format(x) }}" } do
    t.raises_text(function() jinja.render(source, variables) end, "is unsafe")
  end
  t.raises_text(function() jinja.render("{% set ns = namespace(_a=1) %}", variables) end, "cannot begin with _")
end)

t.test("methods that change values are refused", function()
  for _, source in ipairs { "{{ messages.append(1) }}", "{{ messages[0].update({'a': 1}) }}", "{{ messages[0].pop('role') }}", "{{ [1].sort() }}" } do
    t.raises_text(function() jinja.render(source, variables) end, "would change a value")
  end
end)

t.test("limits end what does not end by itself", function()
  local hostile = {
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "{{ 'a' * 100000000 }}", "{{ [0] * 100000000 }}", "{{ 'x'.ljust(1000000000) }}", "{{ '%1000000000d' % 1 }}", "{{ range(10 ** 9) }}",
    "{% set ns = namespace(l=[]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
    "{% set ns = namespace(l=[]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l == ns.l[0] }}{{ ns.l | tojson }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ " .. ("("):rep(5000) .. "1" .. (")"):rep(5000) .. " }}", "{{ " .. ("-"):rep(5000) .. "1 }}",
    ("{% if 1 %}"):rep(5000), "{{ " .. ("not "):rep(5000) .. "1 }}", "{{ 1" .. ("|abs"):rep(5000) .. " }}", "{{ x" .. (".a"):rep(5000) .. " }}",
    "{% for i in range(1000) %}{{ 'x' * 100000 }}{% endfor %}", "{{ 'a'.replace('', 'b' * 1000000) * 100 }}", "{{ ('%s' * 99999) % x }}",
  }
  for i, source in ipairs(hostile) do
    local start = os.clock()
    t.raises(function() jinja.render(source, { x = "X" }) end, "template line")
    t.ok(os.clock() - start < 5, "hostile template " .. i .. " took " .. (os.clock() - start) .. " s")
  end
  t.raises_text(function() jinja.render("{{ 'a' * 11 }}", {}, { max_bytes = 10 }) end, "more than 10 bytes")
  t.raises_text(function() jinja.render("{% for i in range(99) %}{{ i }}{% endfor %}", {}, { max_steps = 50 }) end, "more than 50 steps")
  t.raises_text(function() jinja.compile(("x"):rep(2 ^ 20 + 1)) end, "1048577 bytes")
  t.equal(jinja.render("{{ 1 }}", {}), "1", "the next one has its own limits")
end)

t.test("Lua values: keys in a fixed order, {} by its name", function()
  local tool = { ["function"] = { parameters = { properties = {}, required = {}, type = "object" }, description = "d", name = "f" }, type = "function" }
  t.equal(jinja.render("{{ t | tojson }}", { t = tool }),
    '{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}, "required": []}}}')
  t.equal(jinja.render("{{ v }}", { v = { 1, 2.5, "a", true } }), "[1, 2.5, 'a', True]")
  local cycle = {}
  cycle.a = cycle
  t.raises_text(function() jinja.render("{{ v }}", { v = cycle }) end, "holds itself")
  t.raises_text(function() jinja.render("{{ v }}", { v = print }) end, "function cannot be given to a template")
end)

t.test("JSON text keeps order, null, floats and escapes", function()
  local value = json [[{"b": [1, 1.0, null, -2e3], "a": "\u00e9\ud83d\ude00\"\\\n", "c": {}, "d": []}]]
  t.equal(jinja.render("{{ v | tojson }}", { v = value }), [[{"b": [1, 1.0, null, -2000.0], "a": "é😀\"\\\n", "c": {}, "d": []}]])
  for _, bad in ipairs { "", "{", "[1,]", '{"a"}', "01", "nul", '"a', "1 2", "[" .. ("["):rep(500) } do
    t.raises(function() json(bad) end, bad == "[" .. ("["):rep(500) and "deep" or "not JSON")
  end
end)

t.test("strftime_now tells the date that is given", function()
  local format = "{{ strftime_now('%d %b %Y|%Y-%m-%d|%-d %B %y|%A %a %j|%H:%M:%S %I%p|%F') }}"
  t.equal(jinja.render(format, {}, { date = "2024-07-06" }), "06 Jul 2024|2024-07-06|6 July 24|Saturday Sat 188|12:00:00 12PM|2024-07-06")
  t.equal(jinja.render("{{ strftime_now('%Y') }}", {}, { date = { year = 1999, month = 1, day = 2 } }), "1999")
  t.equal(jinja.render("{{ strftime_now('%Y-%m-%d') }}", {}), os.date "%Y-%m-%d")
  t.raises_text(function() jinja.render("{{ strftime_now('%Q') }}", {}) end, "%Q is not a part of a date")
  t.raises_text(function() jinja.render("{{ strftime_now('%Y') }}", {}, { date = "yesterday" }) end, "YYYY-MM-DD")
end)
