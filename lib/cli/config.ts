import path from 'node:path';
import { pathToFileURL } from 'node:url';

import { isRecord } from '../json.js';
import type { SessionOptions } from '../options/session-options.js';
import { UsageError } from './terminal.js';

/**
 * The options that a module of the app exports: as `options`, or by default. It is run for that, so it must start nothing.
 *
 * @throws {UsageError}
 */
export async function loadConfig(file: string, cwd: string): Promise<SessionOptions> {
  const module = await load(pathToFileURL(path.resolve(cwd, file)).href, file);
  const inner = isRecord(module.default) ? module.default : {};
  const options = module.options ?? inner.options ?? module.default;
  if (!isRecord(options)) {
    throw new UsageError(
      `${file} must export the options of withSession(), as "options" or by default. What withSession() returns does ` +
        'not show them.',
    );
  }
  return options as unknown as SessionOptions;
}

async function load(url: string, file: string): Promise<Record<string, unknown>> {
  try {
    return (await import(url)) as Record<string, unknown>;
  } catch (error) {
    const { code, message } = error as { code?: string; message?: string };
    const why = code === 'ERR_MODULE_NOT_FOUND' ? 'it, or a module that it imports, is not there' : (code ?? message);
    throw new UsageError(`${file} cannot be loaded: ${why ?? 'it throws'}.`);
  }
}
