"""Asks the published renderer (transformers with jinja2) what templates give, and writes
jinja_answers.json beside this file: { "made_with", "cases": [{ "source", "text" or "refused" }] }.

    pip install "transformers==5.24" jinja2; python3 tests/faults/ask_jinja.py"""
import json
import pathlib

import jinja2
import transformers
from transformers.utils.chat_template_utils import render_jinja_template

MESSAGES = [{"role": "user", "content": "Grüße <b>'x'</b>"}, {"role": "assistant", "content": "ok"}]
WORDS = ["ΟΔΟΣ", "Ɓ", "ŉ", "ß", "İstanbul", "ǆ", "ﬁne", "aΣ.b Σ", "ΑΣ\u0301", "Straße", "ͅ", "x\u00adΣ", "Ⅷ", "ⓐb", "ª", "they're bill's", "日本", "Ǆx ǅ"]
NUMBERS = ["7.5", "2", "0.1", "5.0", "-7", "-7.5", "3", "-0.0", "1e16", "-3", "1e-5", "0.5"]
CHARACTERS = ["\u0600", "\u200b", "\ue000", "\U000e0001", "\U0001f600", "\u00a0", "\u2028", "\u0378", "é", "\x7f", "\ufeff", "'", "\"'", "\\", "\u0301"]

CASES = [
    # macros
    "{% macro m(a) %}{{ a }}{{ kwargs }}{% endmacro %}{{ m(1, b=2) }}",
    "{% macro m(a) %}{{ a }}{{ varargs }}{% endmacro %}{{ m(1, 2, 3) }}",
    "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, c=3) }}{{ m(a=1) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, b=2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m() }}",
    "{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}",
    "{% macro m() %}{{ caller() }}{{ kwargs }}{% endmacro %}{% call m(q=1) %}y{% endcall %}",
    "{% macro m() %}{{ caller('z') }}{% endmacro %}{% call(v) m() %}y{{ v }}{% endcall %}",
    "{% macro m() %}{{ caller('z') }}{% endmacro %}{% call m() %}y{% endcall %}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(4) }}",
    # blanks and widths
    "{{ 'xy'.center(5) }}|{{ 'xy'|center(5) }}|{{ 'xyz'.center(6) }}|{{ 'x'.center(4, '*') }}|{{ 'é'.center(4, '·') }}|",
    "{{ '{:^5}|{:<4}|{:>4}|{:*^6}'.format('xy', 'a', 'b', 'c') }}",
    "{{ '%5s|%-5s|%05d|%+d|%.2f|%x|%e' % ('a', 'b', 42, 7, 3.14159, 255, 12345.678) }}",
    "{{ 'hello world foo'|truncate(8) }}|{{ 'hello world foo'|truncate(8, true) }}|{{ 'hello world foo'|truncate(8, true, '…') }}|{{ 'hello'|truncate(4) }}|{{ 'hello'|truncate(4, leeway=0) }}",
    "{{ 'foo bar baz qux'|truncate(9) }}|{{ 'foo bar baz qux'|truncate(11, leeway=0) }}|{{ 'foo'|truncate(2) }}",
    "{{ 'the quick brown fox jumps over'|wordwrap(10) }}",
    "{{ 'the quick-brown foxjumpsoveritall'|wordwrap(8) }}",
    "{{ 'the quick-brown foxjumpsoveritall'|wordwrap(8, false) }}|{{ 'a b c d'|wordwrap(3, wrapstring='/') }}",
    "{{ 'well-known x-ray'|wordwrap(6, break_on_hyphens=false) }}|{{ 'one\n\ntwo words here'|wordwrap(5) }}",
    "{{ 'a b&c=d/é'|urlencode }}|{{ {'a b': 1, 'c': 'x&y'}|urlencode }}|{{ [('a', 'b c')]|urlencode }}|{{ 5|urlencode }}",
    "{{ {'class': 'a b', 'id': none, 'n': 5, 'q': '<\"'}|xmlattr }}|{{ {'a': 1}|xmlattr(false) }}|{{ {}|xmlattr }}",
    "{{ {'a b': 1}|xmlattr }}",
    "{{ 0|filesizeformat }} {{ 1|filesizeformat }} {{ 999|filesizeformat }} {{ 1000|filesizeformat }} {{ 123456789|filesizeformat }} {{ 1024|filesizeformat(true) }} {{ '3000'|filesizeformat }} {{ 1e30|filesizeformat }}",
    "{{ {'b': 1, 'a': [1, 2, 'x']}|pprint }}|{{ 'x'|pprint }}|{{ 1.5|pprint }}|{{ [none, true]|pprint }}",
    "{{ '<p>Hello <b>World</b>  &amp; co</p>'|striptags }}",
    "{{ messages|pprint }}|{{ {'z': ['a long text that goes on and on', 'another one of these texts', 'x'], 'y': {'k': 'some more text to be long enough'}}|pprint }}",
    "{{ 'foo bar-baz (qux) [x] {y} <z> it\\'s'|title }}",
    "{{ 'hello wörld, it_is 5'|wordcount }}",
    "{{ ['a', 'b']|random in ['a', 'b'] }}|{{ [7]|random }}|{{ []|random }}",
    # text methods
    "{{ 'Abc Def'.istitle() }} {{ 'Abc def'.istitle() }} {{ ''.istitle() }} {{ '1'.istitle() }} {{ 'ǅx'.istitle() }}",
    "{{ 'a'.isprintable() }} {{ 'a\n'.isprintable() }} {{ ''.isprintable() }}",
    "{{ '{a} {b[0]} {c.d}'.format_map({'a': 1, 'b': [2], 'c': {'d': 3}}) }}",
    "{{ 'abc'.translate({97: 'x', 98: none, 99: 122}) }} {{ 'abc'.translate('abc'.maketrans('ab', 'xy', 'c')) }} {{ 'abc'.translate(''.maketrans({'a': 'q'})) }}",
    "{{ 'aé'.encode() }} {{ 'a\\'b'.encode('utf-8') }} {{ 'aé'.encode()|length }} {{ 'aé'.encode().decode() }} {{ 'aé'.encode().hex() }}",
    "{{ (255).bit_length() }} {{ (0).bit_length() }} {{ true.bit_length() }} {{ (2.0).is_integer() }} {{ (2.5).is_integer() }}",
    "{{ dict.fromkeys(['a', 'b']) }} {{ dict.fromkeys('ab', 0) }} {{ dict(a=1, **{'b': 2}) }} {{ dict([('k', 'v')]) }}",
    "{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a b c'.rsplit(' ', 1) }} {{ 'a\r\nb\u2028c\x0bd'.splitlines() }} {{ 'a.b.c'.partition('.') }} {{ 'a.b.c'.rpartition('.') }}",
    "{{ '-42'.zfill(6) }} {{ 'a\tb'.expandtabs(4) }} {{ 'xxabxx'.strip('x') }} {{ 'prefix-x'.removeprefix('prefix-') }} {{ 'aXbX'.replace('X', 'y', 1) }} {{ 'abcabc'.rfind('b') }} {{ 'abc'.count('') }}",
    # numbers
    "{{ 7.5 % 0.1 }} {{ 2 // 0.1 }} {{ 5.0 % 0.1 }} {{ -0.0 }} {{ 0.0 * -1 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }}",
    "{{ 1e400 }}|{{ 1e22 }} {{ 1e15 }} {{ 123456789012345.6 }} {{ 0.1 + 0.2 }} {{ 1 / 3 }} {{ 1e-7 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 0.5 }}",
    "{{ 2.5|round }} {{ 3.5|round }} {{ 2.675|round(2) }} {{ 42.55|round(1, 'floor') }} {{ 42|round }} {{ 1234.5|round(-2) }} {{ 2.1|round(0, 'ceil') }}",
    "{{ '12.7'|int }} {{ 'x'|int(5) }} {{ '0x1A'|int(0, 16) }} {{ '3.14'|float }} {{ 'x'|float }} {{ true|int }} {{ -3.9|int }} {{ none|int(1) }} {{ '1_000'|int }}",
    # sequences
    "{{ range(4)[1:3] }} {{ range(10)[::-2] }} {{ range(5)[2] }} {{ range(3) }} {{ range(1, 9, 3) }} {{ range(4).stop }} {{ range(3)|list }} {{ 2 in range(3) }}",
    "{{ [1, 2]|tojson(indent=true) }}|{{ [1, {'a': []}]|tojson(indent=2) }}|{{ {'a': 1}|tojson(indent=false) }}|{{ {'b': 1, 'a': 2}|tojson(sort_keys=true) }}|{{ [1, 2]|tojson(separators=(',', ':')) }}|{{ 'é\u2028<'|tojson }}|{{ 'é'|tojson(true) }}",
    "{{ {'a': none, 'b': true, 1: 1.0, none: 2}|tojson }} {{ (1, 2)|tojson }} {{ 1e400|tojson }}",
    "{{ {'a': 1, 'b': [1, 'x', none, {'c': 2.0}]} }} {{ (1,) }} {{ [] }} {{ {} }} {{ () }}",
    "{{ [3, 1, 2]|sort }} {{ ['b', 'A', 'c']|sort }} {{ ['b', 'A']|sort(case_sensitive=true) }} {{ ['x', 'X', 'y']|unique|list }} {{ [1, 2, 3]|batch(2)|list }} {{ [1, 2, 3]|slice(2)|list }}",
    "{{ messages|map(attribute='role')|join(', ') }} {{ messages|selectattr('role', 'equalto', 'user')|list|length }} {{ messages|rejectattr('content', 'eq', 'ok')|map(attribute='role')|list }} {{ messages|groupby('role')|length }}",
    "{{ [1, 2, 3]|sum }} {{ [[1], [2]]|sum(start=[]) }} {{ [1, 5, 3]|max }} {{ 'hello'|first }}{{ 'hello'|last }} {{ 'abc'|reverse }} {{ [1, 2]|reverse|list }} {{ {'b': 1, 'a': 2}|dictsort }} {{ {'a': 1}|items|list }}",
    "{{ 'abc'[::-1] }} {{ 'abc'[-2:] }} {{ [1, 2, 3][:-1] }} {{ (1, 2, 3)[1:] }} {{ 'é日x'[1] }} {{ [1, 2][5] is defined }}",
    # marked text
    "{{ '<'|safe + '<' }} {{ '<' + '>'|safe }} {{ '<'|e }} {{ '<'|e|e }} {{ '<'|forceescape|forceescape }} {{ '<'|safe|upper }} {{ ('<'|safe) is escaped }} {{ '<' is escaped }}",
    "{{ ('a'|safe).join(['<', 'b']) }} {{ ['<'|safe, '&']|join('>') }} {{ ('%s'|safe) % '<' }} {{ ('{}'|safe).format('<') }} {{ ['<'|safe] }} {{ ('<'|safe) * 2 }} {{ ('<'|safe) ~ '>' }} {{ ('ab<'|safe)[1:] + '<' }}",
    "{{ ('<'|safe) == '<' }} {{ '<' in ('a<'|safe) }} {{ ('<b>'|safe)|length }} {{ ('a,<'|safe).split(',') }} {{ ('<'|safe)|tojson }} {{ ('<'|safe).replace('<', '>') }} {{ ('<'|safe)|replace('<', '&') }}",
    "{% autoescape true %}{{ '<' }}{{ '<'|safe }}{{ messages[0].content }}{% set x = '<' %}{{ x }}{{ x ~ ('>'|safe) }}{{ 5 }}{{ none }}{% endautoescape %}{{ '<' }}",
    "{% autoescape true %}{% macro m() %}<{{ '<' }}{% endmacro %}{{ m() }}{% set y %}<{{ '>' }}{% endset %}{{ y }}{% endautoescape %}{% autoescape false %}{{ '<' }}{% endautoescape %}",
    # statements
    "{% block a %}x{{ messages|length }}{% endblock %}{% block b scoped %}y{% endblock b %}",
    "{% set q = 1 %}{% for i in [1, 2] %}{% block inner %}[{{ i }}{{ q }}]{% endblock %}{% endfor %}",
    "{% for i in [1, 2] %}{% block inner scoped %}[{{ i }}]{% endblock %}{% endfor %}",
    "{% block a %}{% endblock %}{% block a %}{% endblock %}",
    "{% set ns = namespace(a=1, b='x') %}{% set ns.a = ns.a + 1 %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}{{ ns }}",
    "{% set ns = namespace(_a=1) %}", "{% set ns = namespace() %}{% set ns._a = 1 %}",
    "{% for a, b in [(1, 2), (3, 4)] %}{{ loop.index }}{{ a }}{{ b }}{{ loop.last }}{% endfor %}",
    "{% for i in range(6) if i is odd %}{% if i == 5 %}{% break %}{% endif %}{% if i == 3 %}{% continue %}{% endif %}{{ i }}{{ loop.length }}{% else %}none{% endfor %}",
    "{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}{% for c in 'añ' %}<{{ c }}>{% endfor %}",
    "{% with a = 1 %}{% with %}{{ a }}{% set a = 2 %}{{ a }}{% endwith %}{{ a }}{% endwith %}{{ a is defined }}",
    "{% filter replace('a', 'b')|upper %}banana{% endfilter %}{% set x|trim %}  y {% endset %}[{{ x }}]",
    "{{ undefined_name }}|{{ undefined_name.x }}", "{{ messages[0].missing }}|{{ messages[0]['missing'] }}|{{ messages[9] is defined }}",
    "{{ messages[0].content.missing.more }}", "{{ 1 + 'a' }}", "{{ [1].append(2) }}", "{{ {}.update({}) }}", "{{ ''.__class__ }}", "{{ 'x' if false }}|{{ none is none }}{{ x is undefined }}",
    "{{ 'a' < 'b' }} {{ 1 < 2 < 3 }} {{ [1, 2] < [1, 3] }} {{ 'a' in 'cat' }} {{ not 'x' }} {{ 1 == 1.0 }} {{ true + 1 }} {{ 'x' and '' or 'z' }}",
    "{{ 5 is divisibleby 5 }} {{ 'x' is string }} {{ {} is mapping }} {{ [] is sequence }} {{ [] is iterable }} {{ 5 is number }} {{ 5.0 is float }} {{ 'a' is lower }} {{ 'A' is upper }} {{ 3 is in [3] }} {{ 'upper' is filter }} {{ 'odd' is test }}",
    "{% raw %}{{ x }}{% endraw %} {# c #} {{- ' a ' -}} b", "{{ strftime_now is callable }} {{ range is callable }} {{ raise_exception('no') }}",
    "{{ cycler('a', 'b').next() }}{% set j = joiner('|') %}{{ j() }}x{{ j() }}y",
    "{{ messages|length }}{{ messages|count }} {{ messages|last|tojson }} {{ messages[0]|tojson(indent=4) }} {{ messages[-1].role }} {{ messages[::-1]|map(attribute='role')|list }}",
]
for word in WORDS:
    CASES.append("".join("{{ x.%s() }}|" % m for m in ("lower", "upper", "title", "casefold", "swapcase", "capitalize", "isupper", "islower", "istitle", "isalpha",
                 "isalnum", "isdigit", "isnumeric", "isdecimal", "isspace", "isidentifier")).replace("x.", "'%s'." % word.replace("'", "\\'"))
                 + "{{ '%s'|title }}|{{ '%s'|capitalize }}" % ((word.replace("'", "\\'"),) * 2))
for c in CHARACTERS:
    CASES.append("{{ ['%s'] }}{{ '%s'|tojson }}{{ '%s'.isprintable() }}" % ((c.replace("\\", "\\\\").replace("'", "\\'"),) * 3))
for a in NUMBERS:
    CASES.append("".join("{{ %s %s %s }} " % (a, op, b) for b in NUMBERS if b not in ("-0.0",) for op in ("+", "-", "*", "/", "//", "%", "<", "==")))


def ask(source):
    try:
        text = render_jinja_template([MESSAGES], chat_template=source, add_generation_prompt=True)[0][0]
        return {"source": source, "text": text}
    except Exception as problem:
        return {"source": source, "refused": type(problem).__name__}


if __name__ == "__main__":
    answers = {"made_with": "transformers %s, jinja2 %s" % (transformers.__version__, jinja2.__version__), "messages": MESSAGES,
               "cases": [ask(source) for source in CASES]}
    path = pathlib.Path(__file__).with_name("jinja_answers.json")
    path.write_text(json.dumps(answers, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(path, len(answers["cases"]), sum("refused" in case for case in answers["cases"]))
