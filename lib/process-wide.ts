/** The version of this package, as package.json has it. Two versions in one process know nothing of each other. */
export const version = '0.1.0';

const key = Symbol.for(`express-sealed-session ${version}`);

/** What is shared, made by whichever copy comes first. */
function shared(): Map<string, unknown> {
  const holder = globalThis as { [key]?: Map<string, unknown> | undefined };
  const known = holder[key] ?? new Map<string, unknown>();
  holder[key] = known;
  return known;
}

/**
 * What a process has once, however often this package is loaded: an app may `import` it in one file and `require()` it in
 * another. Two coordinators would present one refresh token twice, and a session of one copy would be nobody to the other.
 */
export function processWide<Value>(name: string, make: () => Value): Value {
  const known = shared();
  if (!known.has(name)) known.set(name, make());
  return known.get(name) as Value;
}
