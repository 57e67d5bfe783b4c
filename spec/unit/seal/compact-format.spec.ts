import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from '@jest/globals';
import { compactSealer } from 'express-sealed-session';

import { dictionary1 } from '../../../lib/seal/compact-dictionary.js';
import { readPasswords } from '../../../lib/seal/passwords.js';
import { bindingOf } from '../../../lib/session/binding.js';

interface Vector {
  name: string;
  password: string;
  binding: string;
  value: Record<string, unknown>;
  sealed: string;
}

const at = (file: string) => new URL(`../../../${file}`, import.meta.url);
const vectors = JSON.parse(readFileSync(at('spec/vectors/compact-seals.json'), 'utf8')) as readonly Vector[];
const page = readFileSync(at('docs/reference/seal-format.md'), 'utf8');
const sealer = compactSealer();

const reader = fileURLToPath(at('docs/reference/read_seal.py'));
const python = (...args: string[]) => spawnSync('python3', args, { encoding: 'utf8' });
const hasPython = python('-c', 'import cryptography').status === 0;

/** What the reader of the documentation, which shares nothing with the code under test, makes of a seal. */
function readWithPython(password: string, binding: string, sealed: string): unknown {
  const { status, stdout } = python(reader, password, binding, sealed);
  return status === 0 ? JSON.parse(stdout) : 'refused';
}

describe('compact seals, recorded', () => {
  it.each(vectors)('open to what was sealed: $name', ({ password, binding, value, sealed }) => {
    const opened = sealer.open(sealed, readPasswords(password), Date.now(), binding);
    expect(opened).toEqual({ ok: true, value, passwordIndex: 0 });
  });

  (hasPython ? it.each(vectors) : it.skip.each(vectors))(
    'open with the reader of the documentation: $name',
    ({ password, binding, value, sealed }) => {
      expect(readWithPython(password, binding, sealed)).toEqual(value);
      expect(readWithPython(`${password}x`, binding, sealed)).toBe('refused');
      expect(readWithPython(password, `${binding}x`, sealed)).toBe('refused');
    },
  );

  (hasPython ? it : it.skip)('are what is sealed today', async () => {
    for (const { password, binding, value } of vectors) {
      const sealed = await sealer.seal(value, readPasswords(password), binding);
      expect(readWithPython(password, binding, sealed)).toEqual(value);
    }
  });
});

describe('docs/reference/seal-format.md', () => {
  it('has an example that opens', () => {
    const example = (name: string) => new RegExp(`^${name} +(.+)$`, 'm').exec(page)![1]!;
    const opened = sealer.open(example('seal'), readPasswords(example('password')), Date.now(), example('binding'));
    expect(opened).toEqual({ ok: true, value: JSON.parse(example('value')), passwordIndex: 0 });
  });

  it('has the dictionary of version 1 beside it', () => {
    expect(readFileSync(at('docs/reference/seal-dictionary-1.txt')).equals(dictionary1)).toBe(true);
  });

  it('has the binding as it is made', () => {
    const provider = 'oidc https://id.example.com client_01';
    expect(vectors.map(({ binding }) => binding)).toEqual(
      expect.arrayContaining([
        bindingOf(provider, 'session'),
        bindingOf(provider, 'flow', 'https://app.example.com/callback'),
      ]),
    );
  });
});
