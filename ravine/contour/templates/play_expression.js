  // A typed function of x and y: read into a list of operations, which give its value and, by the chain rule, its gradient.
  // Here are only functions of numbers and text: tests run this file by itself.
  const DERIVATIVES = {
    sin: [Math.sin, (a) => Math.cos(a)],
    cos: [Math.cos, (a) => -Math.sin(a)],
    exp: [Math.exp, (a, value) => value],
    log: [Math.log, (a) => 1 / a],
    sqrt: [Math.sqrt, (a, value) => 0.5 / value],
    abs: [Math.abs, (a) => (a > 0 ? 1 : a < 0 ? -1 : 0 * a)],
    tanh: [Math.tanh, (a, value) => 1 - value * value],
  };
  const CONSTANTS = { pi: Math.PI, e: Math.E };
  const EXAMPLE = "x**2 + 20*y**2";
  const TOKEN = /\s*(?:((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|([A-Za-z_]\w*)|(\*\*|[-+*/^()]))/y;

  function tokensOf(text) {
    const tokens = [];
    TOKEN.lastIndex = 0;
    while (text.slice(TOKEN.lastIndex).trim()) {
      const at = TOKEN.lastIndex, found = TOKEN.exec(text);
      if (!found) {
        const place = at + text.slice(at).search(/\S/);
        throw new SyntaxError(`“${text[place]}” (character ${place + 1}) has no meaning here. Type it like ${EXAMPLE}.`);
      }
      const [, number, name, sign] = found, place = TOKEN.lastIndex - (number || name || sign).length;
      tokens.push({ kind: number ? "number" : name ? "name" : "sign", text: sign === "^" ? "**" : number || name || sign, place });
    }
    return tokens;
  }
  function nearestName(name) {
    const known = ["x", "y", ...Object.keys(CONSTANTS), ...Object.keys(DERIVATIVES)];
    const meant = known.find((one) => one.length > 1 && (name.toLowerCase() === one || name.startsWith(one) || one.startsWith(name)));
    return meant ? `Did you mean ${meant}?` : `Known are ${known.join(", ")}.`;
  }

  // The operations in order; an argument is the number of an earlier one. Python's rules: -x**2 is -(x**2).
  function operationsOf(text) {
    const tokens = tokensOf(text), operations = [];
    if (!tokens.length) throw new SyntaxError(`Type a function of x and y, such as ${EXAMPLE}.`);
    if (tokens.length > 2000) throw new SyntaxError("The function is too long.");
    let next = 0, depth = 0;
    const peek = () => tokens[next];
    const isSign = (...signs) => peek() && peek().kind === "sign" && signs.includes(peek().text);
    const add = (op, a = -1, b = -1, value = 0) => {
      const [left, right] = [operations[a], operations[b]];
      const needs = (name) => op === name || Boolean((left && left[name]) || (right && right[name]));
      operations.push({ op, a, b, value, x: needs("x"), y: needs("y") });
      return operations.length - 1;
    };
    const missing = (after) => new SyntaxError(`Something is missing ${after ? `after “${after.text}” (character ${after.place + 1})` : ""}. Type it like ${EXAMPLE}.`);
    function sum() {
      let left = product();
      while (isSign("+", "-")) left = add(tokens[next++].text, left, product());
      return left;
    }
    function product() {
      let left = signed();
      while (isSign("*", "/")) left = add(tokens[next++].text, left, signed());
      return left;
    }
    function signed() {
      if (++depth > 200) throw new SyntaxError("There are too many brackets or signs inside each other.");
      const negative = isSign("-");
      const made = isSign("+", "-") ? (next++, signed()) : power();
      depth--;
      return negative ? add("neg", made) : made;
    }
    function power() {
      const base = atom();
      return isSign("**") ? (next++, add("**", base, signed())) : base;
    }
    function bracketed(open) {
      const inside = sum();
      if (isSign(")")) { next++; return inside; }
      if (peek()) throw unexpected(peek());
      throw new SyntaxError(`The bracket that opens at character ${open.place + 1} is not closed.`);
    }
    function atom() {
      const token = tokens[next++];
      if (!token) throw missing(tokens[tokens.length - 1]);
      if (token.kind === "number") return add("constant", -1, -1, Number(token.text));
      if (token.text === "(") return bracketed(token);
      if (token.text === ")" && next < 2) throw closes(token);
      if (token.kind === "sign") throw missing(tokens[next - 2] || token);
      if (token.text === "x" || token.text === "y") return add(token.text);
      if (Object.hasOwn(CONSTANTS, token.text)) return add("constant", -1, -1, CONSTANTS[token.text]);
      if (!Object.hasOwn(DERIVATIVES, token.text)) throw new SyntaxError(`There is no “${token.text}” (character ${token.place + 1}). ${nearestName(token.text)}`);
      if (!isSign("(")) throw new SyntaxError(`${token.text} needs brackets: ${token.text}(x).`);
      return add(token.text, bracketed(tokens[next++]));
    }
    const closes = ({ place }) => new SyntaxError(`The bracket that closes at character ${place + 1} was not opened.`);
    function unexpected(token) {
      const before = tokens[next - 1];
      if (token.text === ")") return closes(token);
      if (token.kind === "sign" && token.text !== "(") return missing(before);
      return new SyntaxError(`Write the sign between “${before.text}” and “${token.text}” (character ${token.place + 1}): ${before.text}*${token.text}${token.text === "(" ? "…)" : ""}.`);
    }
    sum();
    if (peek()) throw unexpected(peek());
    if (!operations.some(({ op }) => op === "x" || op === "y")) throw new SyntaxError(`There is neither x nor y in it. Type it like ${EXAMPLE}.`);
    return operations;
  }

  // value(x, y), and gradient(x, y, into), which gives the value too. Throws a SyntaxError that says what is wrong.
  function compiled(text) {
    const operations = operationsOf(text), count = operations.length;
    // numbers in typed arrays: a map has a hundred thousand points
    const CODES = ["x", "y", "constant", "+", "-", "neg", "*", "/", "**"];
    const codes = Int32Array.from(operations, ({ op }) => (CODES.includes(op) ? CODES.indexOf(op) : CODES.length));
    const first = Int32Array.from(operations, ({ a }) => Math.max(a, 0)), second = Int32Array.from(operations, ({ b }) => Math.max(b, 0));
    const depends = (name, argument) => Uint8Array.from(operations, (one) => one[argument] >= 0 && operations[one[argument]][name]);
    const [firstX, firstY, secondX, secondY] = [depends("x", "a"), depends("y", "a"), depends("x", "b"), depends("y", "b")];
    const functions = operations.map(({ op }) => (DERIVATIVES[op] || [])[0]), slopes = operations.map(({ op }) => (DERIVATIVES[op] || [])[1]);
    const values = Float64Array.from(operations, ({ value }) => value), byX = new Float64Array(count), byY = new Float64Array(count);
    const raised = (a, b) => (b === 2 ? a * a : b === 3 ? a * a * a : a ** b);
    function value(x, y) {
      for (let i = 0; i < count; i++) {
        const a = values[first[i]], b = values[second[i]];
        switch (codes[i]) {
          case 0: values[i] = x; break;
          case 1: values[i] = y; break;
          case 2: break;
          case 3: values[i] = a + b; break;
          case 4: values[i] = a - b; break;
          case 5: values[i] = -a; break;
          case 6: values[i] = a * b; break;
          case 7: values[i] = a / b; break;
          case 8: values[i] = raised(a, b); break;
          default: values[i] = functions[i](a);
        }
      }
      return values[count - 1];
    }
    function gradient(x, y, into) {
      const result = value(x, y);
      for (let i = 0; i < count; i++) {
        const l = first[i], r = second[i], a = values[l], b = values[r];
        let left = 0, right = 0; // how fast it grows with its arguments
        byX[i] = byY[i] = 0;
        switch (codes[i]) {
          case 0: byX[i] = 1; continue;
          case 1: byY[i] = 1; continue;
          case 2: continue;
          case 3: left = right = 1; break;
          case 4: left = 1; right = -1; break;
          case 5: left = -1; break;
          case 6: left = b; right = a; break;
          case 7: left = 1 / b; right = -values[i] / b; break;
          case 8:
            left = b === 0 ? 0 : b * raised(a, b - 1);
            if (secondX[i] || secondY[i]) right = a === 0 && b >= 0 ? 0 : values[i] * Math.log(a);
            break;
          default: left = slopes[i](a, values[i]);
        }
        // what an argument does not depend on it adds nothing to, also where its slope is infinite
        if (firstX[i]) byX[i] += left * byX[l];
        if (firstY[i]) byY[i] += left * byY[l];
        if (secondX[i]) byX[i] += right * byX[r];
        if (secondY[i]) byY[i] += right * byY[r];
      }
      into[0] = byX[count - 1];
      into[1] = byY[count - 1];
      return result;
    }
    return { value, gradient };
  }
