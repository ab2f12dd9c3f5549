"""grammar - answers of a given form: response_format, json_schema, grammar, lazy grammars; what is wrong
with one; and that plain streams beside them stay what they are."""

import json
import unittest
from concurrent.futures import ThreadPoolExecutor

from harness import Server, main
from surfaces import STREAMING, chat, completions

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 3},
        "at": {"type": "object", "properties": {"x": {"type": "number"}, "ok": {"type": "boolean"}},
               "required": ["x", "ok"], "additionalProperties": False},
    },
    "required": ["name", "age", "tags", "at"],
    "additionalProperties": False,
}


def json_schema(schema):
    return {"type": "json_schema", "json_schema": {"name": "test", "strict": True, "schema": schema}}


class OnTheModel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--llama-slots=4", ready=None)
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        cls.server.need_llama()

    def ask(self, stream=False, surface=chat, prompt="Who is it?", **params):
        return surface.ask(self.server, prompt, stream, **{"max_tokens": 400, **params})

    def check_person(self, text):
        person = json.loads(text)
        self.assertEqual(list(person), ["name", "age", "tags", "at"])
        self.assertIsInstance(person["name"], str)
        self.assertLessEqual(len(person["name"]), 12)
        self.assertIs(type(person["age"]), int)
        self.assertTrue(0 <= person["age"] <= 120, person)
        self.assertLessEqual(len(person["tags"]), 3)
        self.assertLessEqual(set(person["tags"]), {"red", "green", "blue"})
        self.assertEqual(list(person["at"]), ["x", "ok"])
        self.assertIn(type(person["at"]["x"]), (int, float))
        self.assertIs(type(person["at"]["ok"]), bool)

    def check_seed(self, seed):
        params = {"seed": seed, "temperature": 1.5, "response_format": json_schema(PERSON)}
        answer = self.ask(**params)
        self.assertEqual(answer.finish, "stop", answer.text)
        self.check_person(answer.text)
        if seed % 5 == 0:  # the same again: in pieces, and by the other name of the same thing
            self.assertEqual(self.ask(stream=True, **params).text, answer.text)
            params["json_schema"] = params.pop("response_format")["json_schema"]["schema"]
            self.assertEqual(self.ask(**params).text, answer.text)
        return answer.text

    def test_a_schema_is_kept_whatever_the_seed_at_any_temperature(self):
        with ThreadPoolExecutor(8) as pool:
            texts = list(pool.map(self.check_seed, range(50)))
        self.assertGreater(len(set(texts)), 40)  # the model chooses, within it

    def test_any_object(self):
        def check(seed):
            answer = self.ask(seed=seed, temperature=1.5, response_format={"type": "json_object"})
            self.assertTrue(answer.text.startswith("{"), answer.text)
            if answer.finish == "stop":
                self.assertIsInstance(json.loads(answer.text), dict)
            return answer.finish

        with ThreadPoolExecutor(4) as pool:
            self.assertIn("stop", list(pool.map(check, range(12))))

    def test_a_grammar_on_every_surface(self):
        for surface in STREAMING:
            with self.subTest(surface.name):
                answer = surface.ask(self.server, "Well?", True, temperature=1.5, seed=3, max_tokens=30,
                                     grammar='root ::= ("yes" | "no") "!"{3}')
                self.assertIn(answer.text, ("yes!!!", "no!!!"))
                self.assertIn(answer.finish, ("stop", None))

    def test_plain_streams_beside_them_say_what_they_say_alone(self):
        def plain(seed):
            return self.ask(stream=True, prompt=f"Tell me {seed}", seed=seed, temperature=1, max_tokens=40).text

        def formed(seed):
            return self.ask(seed=seed, temperature=1, response_format=json_schema(PERSON)).text

        alone = [plain(seed) for seed in range(4)]
        formed_alone = [formed(seed) for seed in range(4)]
        with ThreadPoolExecutor(16) as pool:
            formed_beside = [pool.submit(formed, seed % 4) for seed in range(8)]
            beside = [pool.submit(plain, seed % 4) for seed in range(8)]
            self.assertEqual([done.result() for done in beside], alone + alone)
            self.assertEqual([done.result() for done in formed_beside], formed_alone + formed_alone)


class OnTheDummy(unittest.TestCase):
    """It says its text, and where that is refused the first byte that is not."""

    TEXT = "first <n>and then"

    @classmethod
    def setUpClass(cls):
        cls.server = Server(dummy_text=cls.TEXT, dummy_tokens=len(cls.TEXT), dummy_delay_ms=0)
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)

    def test_a_lazy_grammar_binds_behind_its_trigger(self):
        lazy = {"grammar": 'root ::= "<n>" [0-9]{3}', "grammar_lazy": True,
                "grammar_triggers": [{"type": 1, "value": "<n>"}]}
        for stream in (False, True):
            answer = chat.ask(self.server, stream=stream, temperature=0, **lazy)
            self.assertEqual((answer.text, answer.finish), ("first <n>000", "stop"))
        lazy["grammar_triggers"] = [{"type": 1, "value": "<never>"}]
        lazy["grammar"] = 'root ::= "<never>"'
        self.assertEqual(chat.ask(self.server, temperature=0, **lazy).text, self.TEXT)

    def test_max_tokens_cuts_and_the_last_allowed_token_ends(self):
        for limit, finish in ((2, "length"), (3, "stop")):
            answer = completions.ask(self.server, stream=False, max_tokens=limit, temperature=0,
                                     grammar="root ::= [0-9]{3}")
            self.assertEqual((answer.text, answer.finish), ("000"[:limit], finish))

    def test_a_cancel_inside_frees_the_slot(self):
        with Server(dummy_delay_ms=20, dummy_slots=1) as server:
            with server.connect() as connection:
                stream = connection.stream(completions.request("x", True, grammar="root ::= [a-c]{4000}", temperature=0,
                                                               max_tokens=4000))
                for _ in range(3):
                    self.assertEqual(stream.next_event().json()["choices"][0]["text"], "a")
            server.wait_idle()
            answer = completions.ask(server, stream=False, grammar='root ::= "b"', temperature=0)
            self.assertEqual(answer.text, "b")

    def check_refused(self, code, param, words, **params):
        for stream in (False, True):
            with self.subTest(param=param, words=words, stream=stream):
                response = self.server.exchange(chat.request("x", stream, **params))
                self.assertEqual(response.status, 400, response)
                error = response.error()
                self.assertEqual((error["code"], error["param"]), (code, param))
                self.assertIn(words, error["message"])

    def test_what_is_wrong_is_said_with_its_place(self):
        schema = "response_format.json_schema.schema"
        self.check_refused("invalid_request", "grammar", "line 2, column ", grammar='root ::= a\na ::= "x')
        self.check_refused("invalid_request", "grammar", "root", grammar='other ::= "x"')
        self.check_refused("unsupported_parameter", "grammar", "left recursi", grammar='root ::= root "x" | "y"')
        self.check_refused("unsupported_parameter", schema, "properties/a",
                           response_format=json_schema({"type": "object", "properties": {"a": {"not": {}}}}))
        self.check_refused("invalid_request", schema, "type", response_format=json_schema({"type": 7}))
        self.check_refused("unsupported_parameter", "json_schema", "", json_schema={"$ref": "http://x/y"})
        self.check_refused("invalid_value", "response_format.type", "json_object", response_format={"type": "xml"})
        self.check_refused("invalid_value", "grammar", "exclude", grammar="root ::= []",
                           response_format={"type": "json_object"})

    def test_what_no_token_can_say_is_an_error_and_not_a_hang(self):
        for stream in (False, True):
            response = self.server.exchange(completions.request("x", stream, grammar='root ::= "Z"', temperature=0,
                                                                logit_bias={str(1 + ord("Z")): -100}))
            self.assertEqual(response.status, 400, response)
            self.assertIn("the grammar allows nothing here", response.error()["message"])
        self.server.wait_idle()


if __name__ == "__main__":
    main()
