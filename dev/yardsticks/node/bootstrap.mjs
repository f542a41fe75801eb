// Calls the handler for each event of the Runtime API, as Lambda's own runtime for Node.js does.

import { Agent, request } from "node:http";
import { text } from "node:stream/consumers";

import { handler } from "./handler.mjs";

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new Agent({ keepAlive: true });

async function call(method, path, body) {
  const options = { agent, host, port, method, path: `/2018-06-01/runtime/invocation/${path}` };
  const response = await new Promise((resolve, reject) => {
    request(options, resolve).on("error", reject).end(body);
  });
  return { headers: response.headers, body: await text(response) };
}

for (;;) {
  const { headers, body } = await call("GET", "next");
  const answer = await handler(JSON.parse(body));
  await call("POST", `${headers["lambda-runtime-aws-request-id"]}/response`, JSON.stringify(answer));
}
