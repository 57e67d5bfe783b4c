require('reflect-metadata');
const { Controller, Get, Injectable, Module, Req, UseGuards } = require('@nestjs/common');
const { NestFactory } = require('@nestjs/core');
const sealed = require('express-sealed-session');
const testing = require('express-sealed-session/testing');
const { makeSessions } = require('./parts.cjs');

const { sessions, answerCookie } = makeSessions(sealed, testing);

// A guard that settles: it resolves, or throws the error that the filter below answers.
class SignedIn {
  async canActivate(context) {
    await sessions.authorize(context.switchToHttp().getRequest());
    return true;
  }
}
Injectable()(SignedIn);

class AccountController {
  account(req) {
    return { id: sessions.signedIn(req).user.id };
  }
}
Req()(AccountController.prototype, 'account', 0);
const method = Object.getOwnPropertyDescriptor(AccountController.prototype, 'account');
Get('account')(AccountController.prototype, 'account', method);
UseGuards(SignedIn)(AccountController.prototype, 'account', method);
Controller()(AccountController);

class AppModule {
  configure(consumer) {
    consumer.apply(answerCookie, sessions, sessions.routes()).forRoutes('*path');
  }
}
Module({ controllers: [AccountController] })(AppModule);

class SessionErrors {
  catch(error, host) {
    const res = host.switchToHttp().getResponse();
    res.status(sealed.isSessionError(error) ? error.status : (error.getStatus?.() ?? 500)).end();
  }
}
require('@nestjs/common').Catch()(SessionErrors);

NestFactory.create(AppModule, { logger: false }).then(async (app) => {
  app.useGlobalFilters(new SessionErrors());
  await app.listen(0, '127.0.0.1');
  console.log(`port ${app.getHttpServer().address().port}`);
});
