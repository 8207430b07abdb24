#!/usr/bin/python3
"""Holds answers of the API against its description.

usage: openapi.py DESCRIPTION.yaml EXCHANGES.json

EXCHANGES is a list of objects: method, path (with the query, without the
prefix of the location), status, type (Content-Type), body, sent (what was
sent, or null), headers.  The output is JSON:

    document    what is wrong with the description
    exchanges   for each exchange its faults
    unused      operations and successes of the description that did not occur
    paths       "METHOD /path" for each operation
    codes       codes of errors
"""

import json
import re
import sys
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from jsonschema import Draft4Validator
from jsonschema.validators import extend

METHODS = {'get', 'put', 'post', 'delete', 'patch'}

TEXT = {'type': 'string'}
TEXTS = {'type': 'array', 'items': TEXT}
TRUTH = {'type': 'boolean'}
SIZE = {'type': 'integer', 'minimum': 0}


def closed(required, /, **properties):
    return {'type': 'object', 'additionalProperties': False,
            'required': required,
            'properties': properties}


def named(kind):
    return {'type': 'object', 'additionalProperties': this(kind)}


def this(kind):
    return {'$ref': '#/definitions/' + kind}


def without_empty(node):
    """Draft 4 wants "required" to have something in it."""
    if isinstance(node, dict):
        return {k: without_empty(v) for k, v in node.items()
                if not (k == 'required' and v == [])}
    return [without_empty(v) for v in node] if isinstance(node, list) else node


# what OpenAPI 3.0 has that this description makes use of; references are
# resolved before it is applied

OPENAPI = without_empty({
    **closed(['openapi', 'info', 'paths'],
             openapi={'type': 'string', 'pattern': r'^3\.0\.\d$'},
             info=closed(['title', 'version'], title=TEXT, version=TEXT,
                         description=TEXT, license=closed(['name'], name=TEXT)),
             servers={'type': 'array',
                      'items': closed(['url'], url=TEXT, description=TEXT)},
             tags={'type': 'array',
                   'items': closed(['name'], name=TEXT, description=TEXT)},
             paths={'type': 'object', 'additionalProperties': False,
                    'patternProperties': {'^/': this('path')}},
             components=closed([], parameters=named('parameter'),
                               headers=named('header'),
                               responses=named('response'),
                               schemas=named('schema'))),
    'definitions': {
        'path': closed([], parameters={'type': 'array',
                                       'items': this('parameter')},
                       **{method: this('operation') for method in METHODS}),
        'operation': closed(
            ['operationId', 'responses', 'tags'], operationId=TEXT, tags=TEXTS,
            summary=TEXT, description=TEXT,
            parameters={'type': 'array', 'items': this('parameter')},
            requestBody=closed(['content'], required=TRUTH,
                               content=named('media')),
            responses={'type': 'object', 'minProperties': 1,
                       'additionalProperties': False,
                       'patternProperties': {r'^[2345]\d\d$':
                                             this('response')}}),
        'parameter': closed(
            ['name', 'in', 'schema'], name=TEXT, required=TRUTH,
            description=TEXT, schema=this('schema'), allowEmptyValue=TRUTH,
            example={}, **{'in': {'enum': ['path', 'query', 'header']}}),
        'header': closed(['schema'], description=TEXT, schema=this('schema')),
        'media': closed(['schema'], schema=this('schema')),
        'response': closed(['description'], description=TEXT,
                           headers=named('header'), content=named('media')),
        'schema': closed(
            [], type={'enum': ['array', 'boolean', 'integer', 'number',
                               'object', 'string']},
            description=TEXT, default={}, example={},
            enum={'type': 'array', 'minItems': 1},
            minimum={'type': 'integer'}, maximum={'type': 'integer'},
            maxLength=SIZE, maxItems=SIZE, maxProperties=SIZE,
            pattern={'type': 'string', 'format': 'regex'},
            required={'type': 'array', 'minItems': 1, 'uniqueItems': True,
                      'items': TEXT},
            properties=named('schema'), items=this('schema'),
            oneOf={'type': 'array', 'minItems': 1, 'items': this('schema')},
            additionalProperties={'anyOf': [TRUTH, this('schema')]}),
    },
})


class Description:

    def __init__(self, text):
        self.raw = yaml.safe_load(text)
        self.faults = []
        self.document = self.resolved(self.raw, ())
        self.operations = []
        self.check()

    def resolved(self, node, seen):
        if isinstance(node, list):
            return [self.resolved(v, seen) for v in node]

        if not isinstance(node, dict):
            return node

        if '$ref' not in node:
            return {k: self.resolved(v, seen) for k, v in node.items()}

        ref = node['$ref']

        if len(node) > 1 or not ref.startswith('#/') or ref in seen:
            self.faults.append(f'{ref}: not alone, not from here, or a ring')
            return {}

        target = self.raw

        for part in ref[2:].split('/'):
            if part not in target:
                self.faults.append(f'{ref}: does not exist')
                return {}
            target = target[part]

        return self.resolved(target, seen + (ref,))

    def check(self):
        for e in Draft4Validator(OPENAPI).iter_errors(self.document):
            self.faults.append(f'{"/".join(map(str, e.absolute_path))}: '
                               f'{e.message[:200]}')

        ids = set()
        tags = {tag['name'] for tag in self.document['tags']}

        for path, item in self.document['paths'].items():
            for method in METHODS & item.keys():
                o = item[method]
                where = f'{method.upper()} {path}'
                parameters = {(p['in'], p['name']): p for p in
                              item.get('parameters', [])
                              + o.get('parameters', [])}
                in_path = {name for place, name in parameters
                           if place == 'path'}

                self.operations.append((where, method.upper(), path, o,
                                        parameters))

                if in_path != set(re.findall(r'{(\w+)}', path)):
                    self.faults.append(f'{where}: other names in the path')

                if not all(parameters['path', name].get('required')
                           for name in in_path):
                    self.faults.append(f'{where}: a part is not required')

                if o['operationId'] in ids or not set(o['tags']) <= tags:
                    self.faults.append(f'{where}: operationId or tags')

                ids.add(o['operationId'])

        for name, schema in self.raw['components']['schemas'].items():
            kind = schema.get('type')

            if not set(schema.get('required', [])) <= set(
                    schema.get('properties', {})):
                self.faults.append(f'{name}: requires what it does not have')

            if kind == 'object' and 'additionalProperties' not in schema:
                self.faults.append(f'{name}: is open')

        used = set(re.findall(r"'\$ref': '(#/[^']*)'", str(self.raw)))

        for kind, entries in self.raw['components'].items():
            for name in entries:
                if f'#/components/{kind}/{name}' not in used:
                    self.faults.append(f'{name}: is not used')

    def find(self, path):
        """Operations of a path; one with fewer variables comes first."""
        path = path.rstrip('/') or '/'
        found = []

        for entry in self.operations:
            # an address of a unix socket has slashes
            pattern = re.sub(r'\\{server\\}', '(?:unix:.*|[^/]+)',
                             re.escape(entry[2]))
            pattern = re.sub(r'\\{version\\}', '[4-9]', pattern)
            pattern = re.sub(r'\\{\w+\\}', '[^/]+', pattern)

            if re.fullmatch(pattern, path):
                found.append(entry)

        return found


PARTIAL = extend(Draft4Validator, {'required': lambda *_: iter(())})


def innermost(error):
    """Of the alternatives of a "oneOf" the one that came farthest."""
    while error.context:
        error = max(error.context, key=lambda e: len(e.absolute_path))
    return error


def faults_of(schema, value, validator=Draft4Validator):
    return [f'{"/".join(map(str, e.absolute_path)) or "it"}: {e.message[:300]}'
            for e in map(innermost, validator(schema).iter_errors(value))]


def judge(description, x, used):
    url = urlsplit(x['path'])
    query = parse_qs(url.query, keep_blank_values=True)
    for bare in url.query.split('&'):
        if bare and '=' not in bare:
            query[bare] = ['']

    entries = description.find(unquote(url.path))
    error = description.document['components']['schemas']['Error']
    method = 'GET' if x['method'] == 'HEAD' else x['method']
    entry = next((e for e in entries if e[1] == method), None)
    faults = []

    if entry is None:
        # nothing there: the answer says so
        wanted = (405, 'MethodNotAllowed') if entries else (404, None)
        body = json.loads(x['body'])
        faults = faults_of(error, body)

        if x['status'] != wanted[0] or (
                wanted[1] and body['error']['code'] != wanted[1]):
            faults.append(f'not described, but {x["status"]}')
        return faults

    where, _, _, operation, parameters = entry

    for name in query:
        if ('query', name) not in parameters:
            faults.append(f'{where}: "{name}" is not described')

    response = operation['responses'].get(str(x['status']))

    if response is None:
        return faults + [f'{where}: {x["status"]} is not described']

    used.add((where, str(x['status'])))

    for name, header in response.get('headers', {}).items():
        value = x['headers'].get(name.lower())
        kind = header['schema'].get('type')

        if value is None:
            faults.append(f'{where}: no {name}')
        else:
            faults += faults_of(header['schema'],
                                int(value) if kind == 'integer' else value)

    if 'content' not in response:
        if x['body']:
            faults.append(f'{where}: a body')
        return faults

    kind = (x['type'] or '').split(';')[0]
    media = response['content'].get(kind)

    if media is None:
        return faults + [f'{where}: type {kind} is not described']

    if x['method'] == 'HEAD':
        return faults

    value = json.loads(x['body']) if kind == 'application/json' else x['body']

    faults += faults_of(media['schema'], value,
                        PARTIAL if query.get('fields', [''])[0]
                        else Draft4Validator)

    if x['status'] >= 400 and 'error' in value:
        if value['error']['status'] != x['status']:
            faults.append('another status in the body')

    # what is accepted must be described as well

    if x['status'] < 300 and x['sent'] is not None:
        schema = operation['requestBody']['content']['application/json']
        faults += ['sent: ' + fault for fault in
                   faults_of(schema['schema'],
                             json.loads(x['sent']))]

    return faults


def main():
    with open(sys.argv[1], encoding='utf-8') as f:
        description = Description(f.read())

    with open(sys.argv[2], encoding='utf-8') as f:
        exchanges = json.load(f)

    used = set()
    judged = [judge(description, x, used) for x in exchanges]

    unused = [f'{where} {status}'
              for where, _, _, operation, _ in description.operations
              for status in operation['responses']
              if status[0] in '23' and (where, status) not in used]

    json.dump({
        'document': description.faults,
        'exchanges': judged,
        'unused': unused,
        'paths': sorted(where for where, *_ in description.operations),
        'codes': description.document['components']['schemas']['Code']['enum'],
    }, sys.stdout)


main()
