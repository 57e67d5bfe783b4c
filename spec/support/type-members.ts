import path from 'node:path';

import typescript from 'typescript';

/*
 * What the types of lib/ say, by the compiler: the members of a union or an interface. A list that a spec keeps by hand
 * misses what is added later, and one that it searches in the text depends on how the text is formatted.
 */

const root = path.resolve(import.meta.dirname, '../..');
const options: typescript.CompilerOptions = {
  strict: true,
  // `Extract`, `Readonly` and the like. The rest of the library costs a second and names no type of ours.
  lib: ['lib.es5.d.ts'],
  types: [],
  module: typescript.ModuleKind.NodeNext,
  moduleResolution: typescript.ModuleResolutionKind.NodeNext,
};

let loaded: { program: typescript.Program; checker: typescript.TypeChecker } | undefined;

/** All of lib/ and nothing else: packages, and Node's own types, would take seconds and say nothing of ours. */
function load() {
  if (loaded) return loaded;
  const host = typescript.createCompilerHost(options);
  host.resolveModuleNameLiterals = (literals, file, _redirected, settings) =>
    literals.map(({ text }) =>
      text.startsWith('.') ? typescript.resolveModuleName(text, file, settings, host) : { resolvedModule: undefined },
    );
  const files = typescript.sys.readDirectory(path.join(root, 'lib'), ['.ts']);
  const program = typescript.createProgram(files, options, host);
  loaded = { program, checker: program.getTypeChecker() };
  return loaded;
}

/** A type that a file of lib/ exports, where it is declared or passed on. */
function exportedType(file: string, name: string): typescript.Type {
  const { program, checker } = load();
  const module = program.getSourceFile(path.join(root, file));
  const symbol = module && checker.getSymbolAtLocation(module);
  const found = symbol && checker.getExportsOfModule(symbol).find((each) => each.name === name);
  if (!found) throw new Error(`${file} exports no type ${name}.`);
  const isAlias = (found.flags & typescript.SymbolFlags.Alias) !== 0;
  return checker.getDeclaredTypeOfSymbol(isAlias ? checker.getAliasedSymbol(found) : found);
}

/** The members of a union of literal texts, sorted: `unionMembers('lib/index.ts', 'Reason')`. */
export function unionMembers(file: string, typeName: string): string[] {
  return textsOf(exportedType(file, typeName), typeName).sort();
}

/** The names of an interface's members, sorted. */
export function interfaceMembers(file: string, name: string): string[] {
  const members = exportedType(file, name).getProperties();
  if (members.length === 0) throw new Error(`${name} in ${file} has no members.`);
  return members.map((member) => member.name).sort();
}

function textsOf(type: typescript.Type, name: string): string[] {
  const members = type.isUnion() ? type.types : [type];
  return members.map((member) => {
    if (!member.isStringLiteral()) throw new Error(`${name} is not made of literal texts only.`);
    return member.value;
  });
}
