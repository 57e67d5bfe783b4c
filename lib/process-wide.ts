/**
 * The version of what is shared. Two copies of this package with another one know nothing of each other, so it changes
 * with whatever is kept below it.
 */
const version = 1;

const key = Symbol.for(`express-sealed-session process ${version}`);

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
