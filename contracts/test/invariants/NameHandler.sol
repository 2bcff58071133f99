// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {NameRegistrar} from "../../src/NameRegistrar.sol";
import {NameResolver} from "../../src/NameResolver.sol";
import {INameRegistrar} from "../../src/interfaces/INameRegistrar.sol";
import {NameFixture} from "../NameFixture.sol";
import {vm} from "../Vm.sol";

/// @notice A payer that, while its rest is returned, pays and is returned once more.
contract GreedyPayer {
    NameRegistrar private immutable _registrar;

    constructor(NameRegistrar registrar) {
        _registrar = registrar;
    }

    receive() external payable {
        if (msg.value < 2) return;
        (bool again,) =
            address(_registrar).call{value: msg.value / 2}(abi.encodeCall(NameRegistrar.renew, ("shopping", 1)));
        again; // Whether it worked shows in the balances.
    }
}

/// @notice Does to the contracts of names what owners and strangers can do, good or bad, and keeps its own accounts: of
/// the wei that moved, by balances, and of what each name should be, by who was entitled. Nothing here is read back from
/// the contracts' own records.
contract NameHandler is NameFixture {
    /// @notice What a name should be.
    struct Expected {
        address owner;
        uint64 expiry;
        address wallet;
        /// Who was given `pay` below it since it was registered.
        address payOwner;
    }

    struct Pending {
        INameRegistrar.Claim claim;
        uint256 made;
        bool used;
    }

    uint256 public constant NAMES = 3;
    uint256 private constant PEOPLE = 4;
    uint256 private constant MAX_PENDING = 64;

    Names private _n;
    string[NAMES] private _labels = ["abc", "abcd", "shopping"];
    uint256[NAMES] private _factors = [64, 8, 1];
    address[PEOPLE] private _people;
    mapping(uint256 name => Expected) private _expected;
    Pending[] private _pending;
    /// What the greedy payer added to "shopping" within the last call, seconds.
    uint64 private _greed;

    /// @notice Wei that people lost in calls.
    uint256 public paidTotal;
    /// @notice Wei that names cost, by this contract's reckoning.
    uint256 public dueTotal;

    /// @notice Calls that went through and must not have.
    uint256 public claimsWithoutCommitment;
    uint256 public untimelyClaims;
    uint256 public namesTaken;
    uint256 public strangersHeeded;
    uint256 public renewedInGraceByOthers;

    constructor(Names memory names) {
        _n = names;
        for (uint256 i = 0; i < PEOPLE; ++i) {
            _people[i] = address(new GreedyPayer(names.registrar));
        }
    }

    function nodeAt(uint256 name) public view returns (bytes32) {
        return _hash("conet", _labels[name]);
    }

    function expectedOf(uint256 name) external view returns (Expected memory) {
        return _expected[name];
    }

    // actions

    function commit(uint256 seed, uint256 ownerSeed, uint256 secret) external {
        if (_pending.length == MAX_PENDING) return;
        address owner = _people[ownerSeed % PEOPLE];
        INameRegistrar.Claim memory claim = _claim(_labels[seed % NAMES], owner, _walletOf(secret));
        claim.duration = uint64(28 days + secret % YEAR);
        claim.secret = bytes32(secret);
        try _n.registrar.commit(_commitment(_n.registrar, claim)) {
            _pending.push(Pending(claim, block.timestamp, false));
        } catch {}
    }

    /// @notice Brings a claim that was committed to: once more, early or late too.
    function register(uint256 seed, uint256 payerSeed, uint256 extra) external {
        if (_pending.length == 0) return;
        Pending storage pending = _pending[seed % _pending.length];
        INameRegistrar.Claim memory claim = pending.claim;
        uint256 name = _indexOf(claim.label);
        uint256 due = _priceOf(name, claim.duration) + _premiumOf(name);
        if (!_pay(payerSeed, due + extra % 1 ether, abi.encodeCall(NameRegistrar.register, (claim)))) return;

        dueTotal += due;
        if (pending.used) claimsWithoutCommitment++;
        pending.used = true;
        if (block.timestamp < pending.made + MIN_AGE || block.timestamp > pending.made + MAX_AGE) untimelyClaims++;
        if (_expected[name].expiry != 0 && block.timestamp < _expected[name].expiry + GRACE) namesTaken++;
        _expected[name] = Expected(claim.owner, uint64(block.timestamp) + claim.duration, claim.target, address(0));
        _expected[2].expiry += _greed;
    }

    /// @notice Commits and registers, mostly when that is old enough, else at any time, early or late.
    function obtain(uint256 seed, uint256 ownerSeed, uint256 secret) external {
        uint256 before = _pending.length;
        this.commit(seed, ownerSeed, secret);
        if (_pending.length == before) return;
        vm.warp(block.timestamp + (secret % 3 == 0 ? secret % (2 * MAX_AGE) : MIN_AGE + secret % 100));
        this.register(before, ownerSeed >> 8, secret >> 8);
    }

    /// @notice Takes what another committed to and brings it as one's own.
    function steal(uint256 seed, uint256 thiefSeed, uint256 what) external {
        if (_pending.length == 0) return;
        INameRegistrar.Claim memory claim = _pending[seed % _pending.length].claim;
        address thief = _people[thiefSeed % PEOPLE];
        if (what % 4 == 0) claim.label = _labels[(_indexOf(claim.label) + 1) % NAMES];
        if (what % 4 == 1) claim.owner = claim.owner == thief ? address(this) : thief;
        if (what % 4 == 2) claim.target = claim.target == thief ? address(this) : thief;
        if (what % 4 == 3) claim.duration += 1;
        uint256 name = _indexOf(claim.label);
        uint256 due = _priceOf(name, claim.duration) + _premiumOf(name);
        if (_pay(thiefSeed, due, abi.encodeCall(NameRegistrar.register, (claim)))) claimsWithoutCommitment++;
    }

    function renew(uint256 seed, uint256 payerSeed, uint32 duration, uint256 extra) external {
        uint256 name = seed % NAMES;
        Expected storage expected = _expected[name];
        address payer = _people[payerSeed % PEOPLE];
        uint256 due = _priceOf(name, duration);
        bytes memory call = abi.encodeCall(NameRegistrar.renew, (_labels[name], duration));
        if (!_pay(payerSeed, due + extra % 1 ether, call)) return;

        dueTotal += due;
        if (expected.expiry <= block.timestamp && expected.owner != payer) renewedInGraceByOthers++;
        expected.expiry += duration;
        _expected[2].expiry += _greed;
    }

    function transfer(uint256 seed, uint256 callerSeed, uint256 toSeed) external {
        uint256 name = seed % NAMES;
        address to = _people[toSeed % PEOPLE];
        if (_act(name, callerSeed, address(_n.registry), abi.encodeCall(_n.registry.setOwner, (nodeAt(name), to)))) {
            _expected[name].owner = to;
        }
    }

    function setWallet(uint256 seed, uint256 callerSeed, uint256 walletSeed) external {
        uint256 name = seed % NAMES;
        address wallet = _walletOf(walletSeed);
        bytes memory call = abi.encodeWithSignature("setAddr(bytes32,address)", nodeAt(name), wallet);
        if (_act(name, callerSeed, address(_n.resolver), call)) _expected[name].wallet = wallet;
    }

    function givePay(uint256 seed, uint256 callerSeed, uint256 toSeed) external {
        uint256 name = seed % NAMES;
        address to = _people[toSeed % PEOPLE];
        bytes memory call = abi.encodeCall(_n.registry.setSubnodeOwner, (nodeAt(name), keccak256("pay"), to));
        if (_act(name, callerSeed, address(_n.registry), call)) _expected[name].payOwner = to;
    }

    function pass(uint256 seconds_) external {
        // Minutes, days or months.
        uint256 scale = [uint256(2 minutes), 1 days, 60 days, YEAR][seconds_ % 4];
        vm.warp(block.timestamp + 1 + (seconds_ >> 2) % scale);
    }

    // steps

    /// @dev A call by the name's owner, mostly, or by another; true if it went through and was the owner's.
    function _act(uint256 name, uint256 callerSeed, address to, bytes memory call) private returns (bool) {
        Expected memory expected = _expected[name];
        address caller = callerSeed % 4 != 0 ? expected.owner : _people[(callerSeed >> 8) % PEOPLE];
        vm.prank(caller);
        (bool done,) = to.call(call);
        if (!done) return false;
        bool entitled = expected.owner == caller && expected.owner != address(0) && block.timestamp < expected.expiry;
        if (!entitled) strangersHeeded++;
        return entitled;
    }

    /// @dev A call that pays; notes what it has cost.
    function _pay(uint256 payerSeed, uint256 value, bytes memory call) private returns (bool done) {
        address payer = _people[payerSeed % PEOPLE];
        vm.deal(payer, payer.balance + value);
        uint256 renewals = _n.registrar.nameExpires("shopping");
        uint256 before = payer.balance;
        vm.prank(payer);
        (done,) = address(_n.registrar).call{value: value}(call);
        paidTotal += before - payer.balance;
        // The greedy payer prolongs "shopping" by a second each time that it can; that is theirs to pay.
        if (done) _noteGreed(renewals, call);
    }

    /// @dev What the greedy payer prolonged within the call.
    function _noteGreed(uint256 before, bytes memory call) private {
        bytes32 node = nodeAt(2);
        uint256 expected = before;
        bytes4 selector = bytes4(call);
        // Of the call itself the handler keeps account elsewhere.
        if (selector == NameRegistrar.renew.selector) {
            (string memory label, uint64 duration) = abi.decode(_arguments(call), (string, uint64));
            if (keccak256(bytes(label)) == keccak256("shopping")) expected += duration;
        } else {
            INameRegistrar.Claim memory claim = abi.decode(_arguments(call), (INameRegistrar.Claim));
            if (keccak256(bytes(claim.label)) == keccak256("shopping")) expected = block.timestamp + claim.duration;
        }
        uint256 greed = _n.registry.expiry(node) - expected;
        _greed = uint64(greed);
        dueTotal += greed * _priceOf(2, 1);
    }

    function _arguments(bytes memory call) private pure returns (bytes memory rest) {
        rest = new bytes(call.length - 4);
        for (uint256 i = 0; i < rest.length; ++i) {
            rest[i] = call[i + 4];
        }
    }

    function _priceOf(uint256 name, uint256 duration) private view returns (uint256 price) {
        uint256 product = PRICE * _factors[name] * duration;
        price = product / YEAR;
        if (product % YEAR != 0) price += 1;
    }

    /// @dev The premium, reckoned day by day.
    function _premiumOf(uint256 name) private view returns (uint256 premium) {
        uint64 expiry = _expected[name].expiry;
        if (expiry == 0 || block.timestamp < expiry + GRACE) return 0;
        uint256 left = block.timestamp - expiry - GRACE;
        premium = PRICE * 65536;
        uint256 days_ = 0;
        while (left >= 1 days) {
            if (++days_ > 16) return 0;
            premium /= 2;
            left -= 1 days;
        }
        premium -= premium * left / 2 / 1 days;
    }

    function _indexOf(string memory label) private view returns (uint256 name) {
        while (keccak256(bytes(_labels[name])) != keccak256(bytes(label))) ++name;
    }

    function _walletOf(uint256 seed) private pure returns (address) {
        return seed % 5 == 0 ? address(0) : address(uint160(uint256(keccak256(abi.encode("wallet", seed)))));
    }
}
