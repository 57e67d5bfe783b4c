import express from 'express';
import { isSessionError, withSession, workos } from 'express-sealed-session';
import { GraphQLError } from 'graphql';
import { createSchema, createYoga } from 'graphql-yoga';

const { WORKOS_CLIENT_ID, WORKOS_API_KEY, SESSION_PASSWORD, BASE_URL = 'http://localhost:3000' } = process.env;

export const sessions = withSession({
  provider: workos({ clientId: WORKOS_CLIENT_ID, apiKey: WORKOS_API_KEY }),
  password: SESSION_PASSWORD,
  baseUrl: BASE_URL,
});

const schema = createSchema({
  typeDefs: /* GraphQL */ `
    type Query {
      "Anybody may ask."
      hello: String!
      "Who is signed in."
      me: ID!
    }
    type Mutation {
      "Only with the permission."
      pay(invoice: ID!): Boolean!
    }
  `,
  resolvers: {
    Query: {
      hello: (_, _args, { session }) => (session.authenticated ? `Hello ${session.user.firstName}` : 'Hello stranger'),
      me: guarded(undefined, (_, _args, { session }) => session.user.id),
    },
    Mutation: {
      pay: guarded({ permissions: 'billing:write' }, () => true),
    },
  },
});

/** A resolver that runs only for who may pass. */
function guarded(rule, resolve) {
  return async (root, args, context, info) => {
    await context.authorize(rule);
    return resolve(root, args, context, info);
  };
}

/** GraphQL hides errors that it does not know. These are meant to be seen. */
function shown(error) {
  if (!isSessionError(error) || !error.expose) return error;
  const { code, status, headers } = error;
  return new GraphQLError(error.message, { extensions: { code, http: { status, headers: { ...headers } } } });
}

export const app = express();
app.use(sessions, sessions.routes());
app.use(
  createYoga({
    schema,
    graphqlEndpoint: '/graphql',
    context: ({ req }) => ({
      session: sessions.get(req),
      authorize: (rule) =>
        sessions.authorize(req, rule).catch((error) => {
          throw shown(error);
        }),
    }),
  }),
);
app.use(sessions.errorHandler());
