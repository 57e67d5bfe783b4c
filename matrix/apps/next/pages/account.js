// The session that the custom server has put on the request.
export async function getServerSideProps({ req, res }) {
  const { session } = req;
  if (!session.authenticated) res.statusCode = session.retryable ? 503 : 401;
  return { props: { id: session.user?.id ?? '' } };
}

export default function Account({ id }) {
  return id;
}
