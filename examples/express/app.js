import express from 'express';
import { withSession, workos } from 'express-sealed-session';

const { WORKOS_CLIENT_ID, WORKOS_API_KEY, SESSION_PASSWORD, BASE_URL = 'http://localhost:3000' } = process.env;

export const sessions = withSession({
  provider: workos({ clientId: WORKOS_CLIENT_ID, apiKey: WORKOS_API_KEY }),
  password: SESSION_PASSWORD,
  baseUrl: BASE_URL,
});

export const app = express();
app.use(sessions, sessions.routes());
app.use(express.json());

app.get('/', (req, res) => {
  const session = sessions.get(req);
  res.send(session.authenticated ? `Hello ${session.user.firstName ?? 'you'}` : 'Hello stranger');
});

app.get('/account', sessions.require(), (req, res) => {
  res.json(sessions.signedIn(req).user);
});

// What another site makes a browser send comes without the session, and is answered 403.
app.post('/invoices', sessions.require({ permissions: 'billing:write' }), (req, res) => {
  res.status(201).json({ by: sessions.signedIn(req).user.id });
});

app.use(sessions.errorHandler());
