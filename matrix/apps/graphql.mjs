import { createServer } from 'node:http';
import * as sealed from 'express-sealed-session';
import * as testing from 'express-sealed-session/testing';
import { GraphQLError } from 'graphql';
import { createSchema, createYoga } from 'graphql-yoga';
import parts from './parts.cjs';

const { sessions, answerCookie } = parts.makeSessions(sealed, testing);

/** The guard's error in GraphQL's words. */
const signedIn = (req) =>
  sessions.authorize(req).catch((error) => {
    throw new GraphQLError(error.message, { extensions: { code: error.code, http: { status: error.status } } });
  });
const yoga = createYoga({
  graphqlEndpoint: '/account',
  logging: false,
  schema: createSchema({
    typeDefs: 'type Query { id: String }',
    resolvers: { Query: { id: async (_, __, { req }) => (await signedIn(req)).user.id } },
  }),
});
const ask = (req, res, next) => {
  if (req.url === '/account') req.url = '/account?query={id}';
  next();
};
parts.listen(createServer(parts.chain(answerCookie, sessions, sessions.routes(), ask, yoga)));
