import 'reflect-metadata';

import { Controller, Get, Module, Post, Req } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { IncomingMessage } from 'node:http';

import { RequireSession, sessions } from './session.guard.js';

@Controller()
class AppController {
  @Get('/')
  hello(@Req() req: IncomingMessage) {
    const session = sessions.get(req);
    return session.authenticated ? `Hello ${session.user.firstName ?? 'you'}` : 'Hello stranger';
  }

  @Get('/account')
  @RequireSession()
  account(@Req() req: IncomingMessage) {
    return sessions.signedIn(req).user;
  }

  @Post('/invoices')
  @RequireSession({ permissions: 'billing:write' })
  pay(@Req() req: IncomingMessage) {
    return { by: sessions.signedIn(req).user.id };
  }
}

@Module({ controllers: [AppController] })
class AppModule {}

export async function createApp() {
  // The routes of the sessions read bodies themselves, so they come before Nest's own parsers.
  const app = await NestFactory.create(AppModule, { logger: false, bodyParser: false });
  app.use(sessions, sessions.routes());
  return app;
}
