import {
  type CanActivate,
  type ExecutionContext,
  Injectable,
  SetMetadata,
  applyDecorators,
  UseGuards,
} from '@nestjs/common';
import { type Rules, type Sessions, withSession, workos, type WorkosUser } from 'express-sealed-session';

const { WORKOS_CLIENT_ID, WORKOS_API_KEY, SESSION_PASSWORD, BASE_URL = 'http://localhost:3000' } = process.env;

export const sessions: Sessions<WorkosUser> = withSession({
  provider: workos({ clientId: WORKOS_CLIENT_ID, apiKey: WORKOS_API_KEY }),
  password: SESSION_PASSWORD,
  baseUrl: BASE_URL,
});

const ruleKey = 'session rule';

/**
 * Nest's own guard. What `authorize` rejects with has `statusCode` and a message, so that Nest answers 401, 403 or 503 by
 * itself.
 */
@Injectable()
export class SessionGuard implements CanActivate {
  async canActivate(context: ExecutionContext): Promise<boolean> {
    const rule = Reflect.getMetadata(ruleKey, context.getHandler()) as Rules<WorkosUser> | undefined;
    await sessions.authorize(context.switchToHttp().getRequest(), rule);
    return true;
  }
}

/** Lets a route run for who may pass. */
export const RequireSession = (rule: Rules<WorkosUser> = {}) =>
  applyDecorators(SetMetadata(ruleKey, rule), UseGuards(SessionGuard));
