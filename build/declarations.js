import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import ts from 'typescript';

/**
 * Leaves of the types what an app can reach: what the entries export, and what that is made of. Then writes each entry
 * for apps in CommonJS, in terms of the same types.
 *
 * @param {string} dist where the compiler has put everything
 * @param {readonly string[]} entries the names of the entries
 */
export function trimDeclarations(dist, entries) {
  const fileOf = (entry) => path.join(dist, `${entry}.d.ts`);
  const program = ts.createProgram({
    rootNames: entries.map(fileOf),
    options: { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, types: ['node'] },
  });
  const checker = program.getTypeChecker();
  const isOurs = (file) => file.fileName.startsWith(dist);
  const reached = new Set();

  const target = (symbol) => (symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol);

  /** The statement of a file that declares something: what is kept or left out as a whole. */
  function statementOf(node) {
    let at = node;
    while (!ts.isSourceFile(at.parent)) at = at.parent;
    return at;
  }

  function reach(symbol) {
    for (const declaration of target(symbol).declarations ?? []) {
      if (ts.isSourceFile(declaration) || !isOurs(declaration.getSourceFile())) continue;
      const statement = statementOf(declaration);
      if (reached.has(statement)) continue;
      reached.add(statement);
      visit(statement);
    }
  }

  function visit(node) {
    if (ts.isIdentifier(node)) {
      const symbol = checker.getSymbolAtLocation(node);
      if (symbol) reach(symbol);
    }
    ts.forEachChild(node, visit);
  }

  const files = program.getSourceFiles().filter(isOurs);
  for (const entry of entries) {
    const file = program.getSourceFile(fileOf(entry));
    const module = checker.getSymbolAtLocation(file);
    for (const symbol of module ? checker.getExportsOfModule(module) : []) reach(symbol);
    // An entry is kept as it is, with what it adds to other modules.
    for (const statement of file.statements) {
      reached.add(statement);
      visit(statement);
    }
  }

  const shims = entries.map((entry) => [entry, commonJsTypes(program.getSourceFile(fileOf(entry)), entry)]);
  for (const file of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
    if (file.endsWith('.d.ts') && !program.getSourceFile(path.join(dist, file))) rmSync(path.join(dist, file));
  }
  for (const file of files) {
    const kept = file.statements.filter((statement) => reached.has(statement) || handsOn(statement));
    const used = namesIn(kept);
    const imports = file.statements.flatMap((statement) => keptImport(statement, used) ?? []);
    const text = [
      ...imports,
      ...kept.filter((each) => !ts.isImportDeclaration(each)).map((each) => each.getFullText().trim()),
    ];
    if (kept.length === 0) rmSync(file.fileName);
    else writeFileSync(file.fileName, `${text.join('\n')}\n`);
  }
  for (const [entry, text] of shims) writeFileSync(path.join(dist, `${entry}.d.cts`), text);

  /** Whether a statement exports something of another file that is kept. */
  function handsOn(statement) {
    if (!ts.isExportDeclaration(statement) || !statement.exportClause) return false;
    if (!ts.isNamedExports(statement.exportClause)) return true;
    return statement.exportClause.elements.some(({ name }) => {
      const symbol = checker.getSymbolAtLocation(name);
      return symbol && target(symbol).declarations?.some((each) => reached.has(statementOf(each)));
    });
  }

  /** The names of an entry for `require()`: the same values and types, from the one set of files. */
  function commonJsTypes(file, entry) {
    const module = checker.getSymbolAtLocation(file);
    const exported = module ? checker.getExportsOfModule(module) : [];
    const from = `'./${entry}.js' with { 'resolution-mode': 'import' }`;
    if (exported.length === 0) return `import type {} from ${from};\nexport {};\n`;
    const values = exported.filter((symbol) => target(symbol).flags & ts.SymbolFlags.Value);
    const types = exported.filter((symbol) => !values.includes(symbol)).map(({ name }) => name);
    const lines = values.map((symbol) => {
      const [declaration] = target(symbol).declarations;
      const comment = ts.getJSDocCommentsAndTags(declaration).map((each) => `${each.getText()}\n`);
      const isClass = target(symbol).flags & ts.SymbolFlags.Class;
      const type = isClass ? `export type ${symbol.name} = esm.${symbol.name};\n` : '';
      return `${comment.join('')}export declare const ${symbol.name}: typeof esm.${symbol.name};\n${type}`;
    });
    return [
      ...(values.length > 0 ? [`import type * as esm from ${from};\n`] : []),
      ...(types.length > 0 ? [`export type { ${types.join(', ')} } from ${from};\n`] : []),
      ...lines,
    ].join('');
  }
}

function namesIn(statements) {
  const names = new Set();
  const visit = (node) => {
    if (ts.isIdentifier(node)) names.add(node.text);
    ts.forEachChild(node, visit);
  };
  for (const statement of statements) if (!ts.isImportDeclaration(statement)) visit(statement);
  return names;
}

/** An import with those names alone that are used. */
function keptImport(statement, used) {
  if (!ts.isImportDeclaration(statement)) return undefined;
  const { importClause: clause, moduleSpecifier } = statement;
  const bindings = clause?.namedBindings;
  if (!clause || !bindings || !ts.isNamedImports(bindings)) return statement.getText();
  const names = bindings.elements
    .filter(({ name }) => used.has(name.text))
    .map((each) => each.getText().replace(/^type /, ''));
  return names.length === 0 ? undefined : `import type { ${names.join(', ')} } from ${moduleSpecifier.getText()};`;
}
