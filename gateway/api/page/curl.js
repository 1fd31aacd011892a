// A request as a command for a POSIX shell. The key is a variable: pages are copied and shown.

export function curlOf(url, body, hasKey) {
  const lines = [
    `curl -N ${quoted(url)}`,
    "-H 'content-type: application/json'",
    ...(hasKey ? ['-H "authorization: Bearer $OPENAI_API_KEY"'] : []),
    `-d ${quoted(JSON.stringify(body, null, 2))}`,
  ];
  return lines.join(" \\\n  ");
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
