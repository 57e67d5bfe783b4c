import type { Middleware } from './http/middleware.js';
import { type Config, resolveOptions } from './options/config.js';
import type { SessionOptions } from './options/session-options.js';
import { processWide } from './process-wide.js';

/** What an instance asks, which the tests of an app may replace. */
export type Replacement = Pick<SessionOptions, 'provider' | 'fleet'>;

/** A hold on an instance, for the tests of the app. */
export interface Hold {
  readonly provider: SessionOptions['provider'];
  /** How the instance is set up now. */
  readonly config: () => Config;
  /** Makes the parts of the instance anew, with what is given in place of its own; without it as they were. */
  readonly replace: (by: Replacement | undefined) => void;
}

// Of both builds of this package: the tests may be in one, and the app in the other.
const holds = processWide('holds', () => ({
  byInstance: new WeakMap<object, Hold>(),
  // One provider is often given to several calls of withSession(), such as a guard of its own.
  byProvider: new WeakMap<object, Set<WeakRef<Hold>>>(),
}));

/** The hold on an instance; undefined for everything else. */
export function holdOn(instance: unknown): Hold | undefined {
  return isObject(instance) ? holds.byInstance.get(instance) : undefined;
}

/** All instances that ask this provider. */
export function holdsOn(provider: object): readonly Hold[] {
  return [...(holds.byProvider.get(provider) ?? [])].flatMap((each) => each.deref() ?? []);
}

type Member = (...given: unknown[]) => unknown;
type Members = Readonly<Record<string, Member>>;

/**
 * An instance whose parts can be made anew, although the app has mounted it and all that it has given out. Nothing of a
 * request knows of it: each of its middlewares calls the one behind it.
 *
 * @param make the parts; a function where the instance is a middleware
 */
export function replaceable<Instance extends object>(
  given: object,
  name: string,
  make: (config: Config) => Instance,
): Instance {
  const first = resolveOptions(given, name);
  // A copy: whatever becomes of the object, the instance asks what it was given.
  const options = { ...given } as SessionOptions;
  const original = make(first);
  let [config, current] = [first, original];
  let hasRoutes = false;

  const members = Object.fromEntries(
    Object.keys(original).map((member) => [
      member,
      (...args: unknown[]) => {
        if (member === 'routes') hasRoutes = true;
        return followed(
          () => current,
          () => (current as unknown as Members)[member]?.(...args),
        );
      },
    ]),
  );
  const instance = (
    typeof original === 'function'
      ? Object.assign(
          middlewareOf(() => current as unknown as Middleware),
          members,
        )
      : members
  ) as Instance;

  const hold: Hold = {
    provider: options.provider,
    config: () => config,
    replace: (by) => {
      config = by ? resolveOptions({ ...options, ...by }, name) : first;
      current = by ? make(config) : original;
      // Guards send a visitor to the sign-in page of the routes that were made.
      if (by && hasRoutes) (current as unknown as Members).routes?.();
    },
  };
  holds.byInstance.set(instance, hold);
  const asking = holds.byProvider.get(options.provider) ?? new Set();
  holds.byProvider.set(options.provider, asking.add(new WeakRef(hold)));
  return Object.freeze(instance);
}

function middlewareOf(current: () => Middleware): Middleware {
  return function sessionMiddleware(req, res, next) {
    current()(req, res, next);
  };
}

/** A middleware that an instance has given out, made again where the parts of the instance were. All else as it is. */
function followed(current: () => object, make: () => unknown): unknown {
  let [madeOf, made] = [current(), make()];
  // An error handler, which has four parameters, holds nothing that is replaced.
  if (typeof made !== 'function' || made.length !== 3) return made;
  return middlewareOf(() => {
    if (madeOf !== current()) [madeOf, made] = [current(), make()];
    return made as Middleware;
  });
}

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}
