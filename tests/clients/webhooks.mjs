// Verify messages of webhooks with the npm packages `standardwebhooks` and `svix`.
import * as standardwebhooks from "standardwebhooks";
import * as svix from "svix";
import { serve } from "./calls.mjs";

const packages = { standardwebhooks, svix };

serve(
  {
    verify: async ({ name, secret, body, headers }) => {
      await new packages[name].Webhook(secret).verify(body, headers);
      return { accepted: true };
    },
  },
  (error) => ({ class: error.constructor.name, message: error.message }),
);
