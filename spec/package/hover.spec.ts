import path from 'node:path';

import { describe, expect, it } from '@jest/globals';
import ts from 'typescript';

const root = path.resolve(import.meta.dirname, '../..');
const entries = ['index', 'redis', 'testing'].map((entry) => path.join(root, `lib/${entry}.ts`));
const program = ts.createProgram({
  rootNames: entries,
  options: {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    strict: true,
    exactOptionalPropertyTypes: true,
    types: ['node'],
  },
});
const checker = program.getTypeChecker();

interface Hovered {
  readonly name: string;
  readonly text: string;
  readonly isFunction: boolean;
  readonly hasExample: boolean;
}

/** What an editor shows of each name that an app can write, and of the members of each. */
const hovered = new Map<string, Hovered>();

for (const entry of entries) {
  const module = checker.getSymbolAtLocation(program.getSourceFile(entry)!);
  for (const each of checker.getExportsOfModule(module!)) {
    const symbol = each.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(each) : each;
    note(symbol.name, symbol);
    const isShape = symbol.flags & (ts.SymbolFlags.Interface | ts.SymbolFlags.Class);
    for (const member of isShape ? checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol)) : []) {
      if (isOurs(member) && !member.name.startsWith('__')) note(`${symbol.name}.${member.name}`, member);
    }
  }
}

function isOurs({ declarations = [] }: ts.Symbol): boolean {
  return declarations.some((each) => each.getSourceFile().fileName.startsWith(path.join(root, 'lib')));
}

function note(name: string, symbol: ts.Symbol): void {
  const [declaration] = symbol.declarations ?? [];
  if (!declaration) return;
  // What is inherited is shown as where it was declared.
  const { parent } = declaration;
  const owner = ts.isInterfaceDeclaration(parent) || ts.isClassDeclaration(parent) ? parent.name?.text : undefined;
  if (owner !== undefined && name.split('.')[0] !== owner) {
    note(`${owner}.${symbol.name}`, symbol);
    return;
  }
  hovered.set(name, {
    name,
    text: ts.displayPartsToString(symbol.getDocumentationComment(checker)),
    isFunction: ts.isFunctionDeclaration(declaration) || ts.isMethodSignature(declaration),
    hasExample: symbol.getJsDocTags(checker).some((tag) => tag.name === 'example'),
  });
}

// Whoever writes one finds a whole example in docs/guide/own-provider.md.
const writtenByApps = /^(Provider|Sealer)\./;

describe('what an editor shows', () => {
  const all = [...hovered.values()];

  it('is looked at for every name, and its members', () => {
    expect(all.length).toBeGreaterThan(250);
    expect([...hovered.keys()]).toEqual(
      expect.arrayContaining(['withSession', 'Sessions.get', 'CookieOptions.maxAge']),
    );
  });

  it('says what each is for', () => {
    expect(all.filter(({ text }) => text === '').map(({ name }) => name)).toEqual([]);
  });

  it('has an example of each function that an app calls', () => {
    const called = all.filter(({ name, isFunction }) => isFunction && !writtenByApps.test(name));
    expect(called.length).toBeGreaterThan(20);
    expect(called.filter(({ hasExample }) => !hasExample).map(({ name }) => name)).toEqual([]);
  });
});
