import { isRecord } from '../json.js';
import { payloadFields, type PayloadFields, type SessionPayload } from './payload.js';

/**
 * The decrypted JSON as a payload, or `undefined` when it is not one: anything can have been sealed. Both spellings of
 * the fields are read: `accessToken` as WorkOS's JavaScript packages write it, `access_token` as its Ruby SDK does.
 */
export function readPayload(value: unknown, sealsUserInCamelCase = false): SessionPayload | undefined {
  if (!isRecord(value)) return undefined;
  // Other writers seal null where a field may be absent.
  const present = fieldsThat((each) => each !== null, value);
  const isSnakeCase = 'access_token' in present && !('accessToken' in present);
  const payload = isSnakeCase ? readSnakeCase(present, sealsUserInCamelCase) : present;
  return isSession(payload) ? fieldsThat(isAsOurs, payload) : undefined;
}

/** An object with only those fields that pass; the object itself when all do. */
function fieldsThat<Fields extends Record<string, unknown>>(
  passes: (value: unknown, name: string) => boolean,
  all: Fields,
): Fields {
  if (Object.keys(all).every((name) => passes(all[name], name))) return all;
  return Object.fromEntries(Object.entries(all).filter(([name, value]) => passes(value, name))) as Fields;
}

function ruleOf(name: string) {
  return Object.hasOwn(payloadFields, name) ? payloadFields[name as keyof PayloadFields] : undefined;
}

const decisiveFields = Object.entries(payloadFields).filter(([, { otherwise }]) => otherwise === 'no session');

function isSession(value: Record<string, unknown>): value is Record<string, unknown> & SessionPayload {
  if (value.accessToken === undefined) return false;
  return decisiveFields.every(([name, { isOurs }]) => value[name] === undefined || isOurs(value[name]));
}

/**
 * Whether a field holds what ours does. One that does not is left out: another writer with our password may use the
 * name for something else, which is no reason to sign its visitors out. Without `startedAt` or `usedAt` a session has
 * no limit of that kind. A visitor cannot bring that about, because sealing takes the password.
 */
function isAsOurs(value: unknown, name: string): boolean {
  return value === undefined || (ruleOf(name)?.isOurs(value) ?? true);
}

const snakeCaseNames = new Map<string, string>(
  Object.entries(payloadFields).flatMap(([name, rule]) => ('snakeCase' in rule ? [[rule.snakeCase, name]] : [])),
);

function readSnakeCase(value: Record<string, unknown>, sealsUserInCamelCase: boolean): Record<string, unknown> {
  const payload = renamed(value, (name) => snakeCaseNames.get(name) ?? name);
  const { user } = payload;
  return sealsUserInCamelCase && isRecord(user) ? { ...payload, user: camelCaseFields(user) } : payload;
}

/** A payload in the field names of WorkOS's Ruby SDK. Unknown fields and the app's own data keep their names. */
export function snakeCasePayload(payload: SessionPayload, sealsUserInCamelCase = false): Record<string, unknown> {
  const { user } = payload;
  const fields = sealsUserInCamelCase && isRecord(user) ? { ...payload, user: renamed(user, snakeCase) } : payload;
  return renamed(fields, (name) => {
    const rule = ruleOf(name);
    return rule && 'snakeCase' in rule ? rule.snakeCase : name;
  });
}

/**
 * The fields of an object of WorkOS's API under the names that its JavaScript packages use.
 *
 * @example
 * camelCaseFields({ first_name: 'Ada' }); // { firstName: 'Ada' }
 */
export function camelCaseFields(value: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return renamed(value, (name) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()));
}

function renamed(value: Readonly<Record<string, unknown>>, rename: (name: string) => string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [rename(name), each]));
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
