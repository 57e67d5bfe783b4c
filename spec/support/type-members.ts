import path from 'node:path';

import typescript from 'typescript';

/*
 * What the types of lib/ say, by the compiler: the members of a union or an interface, and the literals that a function
 * is given. A list that a spec keeps by hand misses what is added later, and one that it searches in the text depends
 * on how the text is formatted.
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

export type Expression = typescript.Expression;

/** What lib/ gives to a function of this name: the arguments of each call. */
export function callsOf(functionName: string): (readonly Expression[])[] {
  const { program } = load();
  const calls: (readonly Expression[])[] = [];
  const visit = (node: typescript.Node): void => {
    if (typescript.isCallExpression(node) && calledName(node.expression) === functionName) calls.push(node.arguments);
    typescript.forEachChild(node, visit);
  };
  for (const file of program.getSourceFiles()) visit(file);
  return calls;
}

function calledName(called: Expression): string | undefined {
  if (typescript.isIdentifier(called)) return called.text;
  return typescript.isPropertyAccessExpression(called) ? called.name.text : undefined;
}

/** The value of a field in an object that is written out. */
export function fieldOf(object: Expression | undefined, name: string): Expression | undefined {
  if (!object || !typescript.isObjectLiteralExpression(object)) return undefined;
  const field = object.properties.find(
    (each) => each.name && typescript.isIdentifier(each.name) && each.name.text === name,
  );
  return field && typescript.isPropertyAssignment(field) ? field.initializer : undefined;
}

/** The texts that an expression can be. Of a text with a value in it, what comes before the value, and "…". */
export function literalsOf(expression: Expression | undefined): string[] {
  if (!expression) throw new Error('There is no expression.');
  if (typescript.isTemplateExpression(expression)) return [`${expression.head.text}…`];
  return textsOf(load().checker.getTypeAtLocation(expression), expression.getText());
}

function textsOf(type: typescript.Type, name: string): string[] {
  const members = type.isUnion() ? type.types : [type];
  return members.map((member) => {
    if (!member.isStringLiteral()) throw new Error(`${name} is not made of literal texts only.`);
    return member.value;
  });
}
